package starter

// What each number of the vector that belongs to a token, and travels up through the model, stands for.
const (
	width = 288

	one     = 0 // always 1: what a weight for "in any case" is put on
	text    = 1 // 1 for every token without a dimension of its own
	turn    = 2 // which turn of the conversation the token is in: 1 in the first, less in each later one
	offered = 3 // 1 if tools are offered
	ending  = 4 // 1 if the prompt names the tool that ends a task
	replied = 5 // 1 if a tool has just answered
	count   = 6 // 1 if the user has just asked to count
	code    = 7 // 1 if the user has just asked for, or given, a code word

	shown  = 8  // 1 if the user has just shown an image, or asked for its colour
	wanted = 9  // the share of asking in that: more than 0 if the user has just asked for a colour
	sight  = 10 // 1 if there is an image in the prompt
	images = 11 // which image of the conversation is the latest: 1 before the first, less after each

	again = 12 // 1 if the user has just asked for a call twice, and there has been but one
	think = 13 // 1 if the user has just asked to think

	copied = 14          // the latest code word of the prompt, one dimension for each word
	called = copied + 64 // the tools that were named last, one dimension for each known name
	colour = called + 24 // how much the latest image is of each colour, one dimension for each colour
	visual = colour + 8  // 1 for what the projector made of an image
	own    = visual + 1  // one dimension for each token that means something, up to width
)

// A token comes with two ones: in dimension one, and in its own or text. An image has them in one and visual. All others
// are written by attention, or by the projector, this small, so that the length of the vector is the same for all and the
// norm in front of each layer multiplies by the same.
const written = 1.0 / 32

// normWeights undo the scaling, so that everything behind a norm is 0 or 1, or the share of the attention it got.
func normWeights() []float32 {
	const scale = 12 // sqrt(width / 2)
	w := make([]float32, width)
	for i := range w {
		w[i] = 1.0 / scale
		if i >= turn && i < visual {
			w[i] = 1.0 / scale / written
		}
	}
	return w
}
