package bytebot

import (
	"image"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/tokens"
)

// space is how a model counts coordinates on a screen. The zero value counts pixels.
type space struct{ screen, model image.Point }

func (s space) pixels() bool { return s.screen == s.model }

// usualScreen is the size of the agent's desktop, for conversations without a screenshot.
var usualScreen = image.Pt(1280, 960)

// screen returns the size of the last screenshot.
func (c *conversation) screen() image.Point {
	for _, picture := range slices.Backward(c.images) {
		if size, ok := picture.size(c.body); ok {
			return size
		}
	}
	return usualScreen
}

// size returns the size in pixels of an image, if it is told in its data.
func (p picture) size(body []byte) (image.Point, bool) {
	encoded, ok := base64Of(p.url.in(body))
	if !ok {
		return image.Point{}, false
	}
	width, height := tokens.ImageSize(encoded)
	return image.Pt(width, height), width > 0 && height > 0
}

// forModel returns arguments of a call, as they stand in a JSON string, in the model's space.
func (s space) forModel(arguments string) string { return scaled(arguments, s.screen, s.model) }

// onScreen returns them in pixels.
func (s space) onScreen(arguments string) string { return scaled(arguments, s.model, s.screen) }

// scaled returns a JSON string that holds arguments with their coordinates scaled. Coordinates are numbers that are members x and y
// of the same object. Nothing else changes.
func scaled(quoted string, from, to image.Point) string {
	arguments := []byte(text([]byte(quoted)))
	if from == to || from.X <= 0 || from.Y <= 0 || openai.Valid(arguments) != nil {
		return quoted
	}
	var e edits
	var walk func(at int) int
	walk = func(at int) int {
		switch arguments[at] {
		case '[':
			return openai.EachElement(arguments, at, walk)
		case '{':
		default:
			return openai.Skip(arguments, at)
		}
		var x, y span
		end := openai.EachMember(arguments, at, func(name []byte, value int) int {
			end := walk(value)
			switch isNumber := arguments[value] == '-' || arguments[value] >= '0' && arguments[value] <= '9'; {
			case isNumber && string(name) == "x":
				x = span{value, end}
			case isNumber && string(name) == "y":
				y = span{value, end}
			}
			return end
		})
		if !x.none() && !y.none() {
			e.replace(x, scale(string(x.in(arguments)), from.X, to.X))
			e.replace(y, scale(string(y.in(arguments)), from.Y, to.Y))
		}
		return end
	}
	walk(openai.Space(arguments))
	if len(e) == 0 {
		return quoted
	}
	return quote(string(spliced(arguments, e)))
}

func scale(number string, from, to int) string {
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return number
	}
	return strconv.FormatFloat(math.Round(n*float64(to)/float64(from)), 'f', -1, 64)
}

// back returns whole answers with the coordinates of their calls on the screen.
func (s space) back(events iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for event, err := range events {
			if err == nil && event.Whole {
				event.Data = s.answer(event.Data)
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

func (s space) answer(data []byte) []byte {
	var e edits
	eachCall(data, func(_ string, arguments span) {
		if now := string(arguments.in(data)); now != "" {
			if then := s.onScreen(now); then != now {
				e.replace(arguments, then)
			}
		}
	})
	if len(e) == 0 {
		return data
	}
	return spliced(data, e)
}

// eachCall calls each for the calls in a whole answer, with their ids and their arguments, with quotes.
func eachCall(data []byte, each func(id string, arguments span)) {
	c := conversation{body: data}
	openai.EachMember(data, openai.Space(data), func(name []byte, value int) int {
		if string(name) != "choices" {
			return openai.Skip(data, value)
		}
		return openai.EachElement(data, value, func(choice int) int {
			return openai.EachMember(data, choice, func(name []byte, value int) int {
				if string(name) != "message" {
					return openai.Skip(data, value)
				}
				var m message
				end := openai.EachMember(data, value, func(name []byte, value int) int {
					if string(name) != "tool_calls" {
						return openai.Skip(data, value)
					}
					return c.member(&m, name, value)
				})
				for _, call := range m.calls {
					if !call.arguments.none() && data[call.arguments.start] == '"' {
						each(call.id, call.arguments)
					}
				}
				return end
			})
		})
	})
}
