package starter

// The tokens that steer the model. Nobody types them; the chat template writes them.
const (
	begin     = "<s>"
	end       = "<|end|>" // closes what the model said, and what it was told before the first question
	system    = "<|system|>"
	user      = "<|user|>"
	assistant = "<|assistant|>"
	result    = "<|tool|>"
	tools     = "<|tools|>"
)

// What the model says. Every phrase is one token and leads to the next one. Those with a line break in them cannot occur
// within a string of JSON, which matters where the model has to fill in a tool's arguments.
const (
	sayCode      = "The code word is: "
	alsoCode     = " The code word is: "
	noCode       = "I was told no code word."
	sayColour    = "The image is "
	alsoColour   = " The image is "
	noImage      = "I was shown no image."
	sayResult    = "The tool has answered."
	sayCall      = "<tool_call>"
	lateCall     = "\n<tool_call>"
	callName     = "\n{\"name\": \""
	arguments    = "\", \"arguments\": "
	noneGiven    = "{}"
	closeCall    = "}\n</tool_call>"
	allDone      = "\", \"arguments\": {\"status\": \"completed\", \"description\": \"The tools were tried, and they answer.\"}"
	openThought  = "<think>"
	thought      = "\nOne step, and another."
	closeThought = "\n</think>\n\n"
	noChat       = "\n(This is the starter model. It answers in chats only.)"
)

var greeting = []string{
	"Hello!", " I am the starter model:", " small enough to come with the gateway,", " and made by hand.",
	" I repeat code words,", " go on counting", " and call tools.",
}

// numbers are counted from the first to the last and over again.
var numbers = []string{
	"1, ", "2, ", "3, ", "4, ", "5, ", "6, ", "7, ", "8, ", "9, ", "10, ",
	"11, ", "12, ", "13, ", "14, ", "15, ", "16, ", "17, ", "18, ", "19, ", "20, ",
	"21, ", "22, ", "23, ", "24, ", "25, ", "26, ", "27, ", "28, ", "29, ", "30, ",
	"31, ", "32, ", "33, ", "34, ", "35, ", "36, ", "37, ", "38, ", "39, ", "40, ",
}

// What the user asks with. A code word itself asks as well, and so does an image.
var (
	askCode   = []string{"code word", "Code word", sayCode, alsoCode}
	askCount  = []string{"count", "Count"}
	askColour = []string{"colour", "color"}
	askAgain  = []string{"twice"}
	askThink  = []string{"step by step"}
)
