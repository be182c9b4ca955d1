package starter

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"sync"
	"testing"
)

const theImage = "The image is "

// startEye starts a llama-server with the committed projector.
func startEye(t *testing.T) *server {
	t.Helper()
	return startServer(t, "--mmproj", projectorPath)
}

// paints has a paint for every colour, and more that the model should give the same name.
var paints = []struct {
	name string
	rgb  [3]uint8
}{
	{"black", [3]uint8{0, 0, 0}},
	{"red", [3]uint8{255, 0, 0}},
	{"green", [3]uint8{0, 255, 0}},
	{"blue", [3]uint8{0, 0, 255}},
	{"yellow", [3]uint8{255, 255, 0}},
	{"magenta", [3]uint8{255, 0, 255}},
	{"cyan", [3]uint8{0, 255, 255}},
	{"white", [3]uint8{255, 255, 255}},
	{"green", [3]uint8{0, 144, 0}},
	{"red", [3]uint8{178, 34, 34}},
	{"blue", [3]uint8{30, 60, 160}},
	{"black", [3]uint8{50, 40, 60}},
	{"white", [3]uint8{200, 220, 190}},
	{"yellow", [3]uint8{240, 200, 60}},
}

// painted is a part of a message: an image of one colour, with some noise in it.
func painted(t *testing.T, format string, width, height int, rgb [3]uint8) object {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := 0; i < len(m.Pix); i += 4 {
		noise := uint8(i / 4 % 7)
		for channel, n := range rgb {
			if n > 127 {
				n -= noise
			} else {
				n += noise
			}
			m.Pix[i+channel] = n
		}
		m.Pix[i+3] = 255
	}
	var file bytes.Buffer
	var err error
	if format == "jpeg" {
		err = jpeg.Encode(&file, m, nil)
	} else {
		err = png.Encode(&file, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	url := "data:image/" + format + ";base64," + base64.StdEncoding.EncodeToString(file.Bytes())
	return object{"type": "image_url", "image_url": object{"url": url, "detail": "high"}}
}

func words(s string) object { return object{"type": "text", "text": s} }

func shows(parts ...object) object { return object{"role": "user", "content": parts} }

func TestTheColourOfAnImageIsNamed(t *testing.T) {
	s := startEye(t)
	sizes := []image.Point{{1, 1}, {16, 16}, {100, 30}, {30, 400}, {1280, 960}}
	for i, p := range paints {
		for j, size := range sizes {
			for _, format := range []string{"png", "jpeg"} {
				got, err := s.chat(t.Context(), object{
					"messages": []object{shows(words("Hello"), painted(t, format, size.X, size.Y, p.rgb))},
					"stream":   (i+j)%2 == 0,
				})
				if want := theImage + p.name + "."; err != nil || got.text != want || got.finish != "stop" {
					t.Errorf("%v of %v as %s: got %q, %s, %v; want %q", p.rgb, size, format, got.text, got.finish, err, want)
				}
			}
		}
	}
}

func TestConversationsWithImages(t *testing.T) {
	s := startEye(t)
	paint := func(r, g, b uint8) object { return painted(t, "png", 64, 48, [3]uint8{r, g, b}) }
	red, blue, white := paint(255, 0, 0), paint(0, 0, 255), paint(255, 255, 255)
	// seen is a conversation in which images were shown and named before the last message.
	seen := func(last object) []object {
		return []object{
			shows(white), says("assistant", theImage+"white."), shows(blue), says("assistant", theImage+"blue."), last,
		}
	}
	look, weather, done := tool("computer_screenshot"), tool("get_weather", "city"), tool("set_task_status")
	tests := []struct {
		name     string
		messages []object
		tools    []object
		text     string
		call     string // name
	}{
		{name: "an image alone", messages: []object{shows(red)}, text: theImage + "red."},
		{name: "the question after the image", messages: []object{shows(blue, words("Which colour is this?"))}, text: theImage + "blue."},
		{name: "the last of a message", messages: []object{shows(red, white, red, blue)}, text: theImage + "blue."},
		{name: "the last of a turn", messages: []object{shows(words("Hello"), blue), shows(white), shows(red)}, text: theImage + "red."},
		{name: "the last of a conversation", messages: seen(shows(words("And this?"), red)), text: theImage + "red."},
		{name: "an earlier one, if asked", messages: seen(says("user", "What color was it?")), text: theImage + "blue."},
		{name: "none, if not asked", messages: seen(says("user", "Hello")), text: hello},
		{name: "none, if there was none", messages: asks("Which colour has the image?"), text: noImage},
		{name: "a code word beside it", messages: []object{shows(red, words("The code word is maple."))}, text: theWord + "maple"},
		{name: "a call, if tools are offered", messages: []object{shows(words("Go on"), red)}, tools: []object{look}, call: "computer_screenshot"},
		{name: "no call, if asked", messages: []object{shows(words("Which colour?"), white, red, blue)}, tools: []object{look}, text: theImage + "blue."},
		{name: "behind a tool's result", messages: append(afterCall("Hello", "computer_screenshot", "screenshot"), shows(words("Screenshot"), blue)), tools: []object{look}, text: answered + " " + theImage + "blue."},
		{
			name: "within a tool's result",
			messages: append(afterCall("Hello", "computer_screenshot", "")[:2],
				object{"role": "tool", "tool_call_id": "call_1", "content": []object{words("screenshot"), white}}),
			tools: []object{look}, text: answered + " " + theImage + "white.",
		},
		{name: "behind a result with a code word", messages: append(afterCall("Hello", "get_weather", "maple"), shows(red)), tools: []object{weather}, text: answered + " " + theWord + "maple"},
		{name: "behind a result that ends a task", messages: append(afterCall("Hello", "computer_screenshot", "screenshot"), shows(words("Screenshot"), blue)), tools: []object{look, done}, call: "set_task_status"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := object{"messages": tt.messages, "max_tokens": 100}
			if tt.tools != nil {
				body["tools"] = tt.tools
			}
			got, err := s.chat(t.Context(), body)
			var called string
			for _, c := range got.calls {
				called += c.name
			}
			if err != nil || got.text != tt.text || called != tt.call {
				t.Errorf("got %q, call %q, %v; want %q, call %q", got.text, called, err, tt.text, tt.call)
			}
		})
	}
}

// Every client shows images of its own, in turns of one conversation, and more clients than slots take part. A wrong
// colour would have come from another conversation's image.
func TestConcurrentImagesStayApart(t *testing.T) {
	s := startEye(t)
	const clients, turns = 8, 6
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			var said []object
			for n := range turns {
				p := paints[(client+n*3)%len(paints)]
				said = append(said, shows(words(fmt.Sprintf("I am client %d.", client)), painted(t, "png", 20, 20, p.rgb)))
				got, err := s.chat(t.Context(), object{"messages": said, "stream": n%2 == 0})
				if err != nil {
					t.Error(err)
					return
				}
				if want := theImage + p.name + "."; got.text != want {
					t.Errorf("client %d, turn %d: got %q, want %q", client, n, got.text, want)
				}
				said = append(said, says("assistant", got.text))
			}
		})
	}
	wg.Wait()
}

// A cache of keys and values may be quantized with images in it, too.
func TestImagesInAQuantizedCache(t *testing.T) {
	s := startServer(t, "--mmproj", projectorPath, "--cache-type-k", "q8_0", "--cache-type-v", "q8_0")
	var said []object
	for n := range 40 {
		p := paints[n%len(paints)]
		said = append(said, shows(painted(t, "png", 20, 20, p.rgb)))
		want := theImage + p.name + "."
		if n%8 == 7 {
			got, err := s.chat(t.Context(), object{"messages": said})
			if err != nil || got.text != want {
				t.Errorf("image %d: got %q, %v; want %q", n, got.text, err, want)
			}
		}
		said = append(said, says("assistant", want))
	}
}
