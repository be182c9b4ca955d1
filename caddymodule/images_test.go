package caddymodule

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"
)

// colours are what the starter model calls some paints.
var colours = []struct {
	name  string
	paint color.RGBA
}{
	{"red", color.RGBA{R: 220, G: 20, B: 30, A: 255}},
	{"green", color.RGBA{R: 10, G: 160, B: 40, A: 255}},
	{"blue", color.RGBA{R: 30, G: 60, B: 200, A: 255}},
	{"yellow", color.RGBA{R: 250, G: 220, B: 40, A: 255}},
	{"white", color.RGBA{R: 240, G: 250, B: 245, A: 255}},
	{"black", color.RGBA{R: 20, G: 25, B: 15, A: 255}},
}

// painted returns the data URL of an image of one colour. noise makes it as large as a screenshot of a photo.
func painted(t *testing.T, format string, width, height int, paint color.RGBA, noise bool) string {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(m, m.Bounds(), image.NewUniform(paint), image.Point{}, draw.Src)
	if noise {
		source := rand.NewChaCha8([32]byte{})
		for i := range m.Pix {
			if i%4 != 3 {
				m.Pix[i] ^= uint8(source.Uint64() & 15)
			}
		}
	}
	var file bytes.Buffer
	var err error
	if format == "jpeg" {
		err = jpeg.Encode(&file, m, nil)
	} else {
		err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&file, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return "data:image/" + format + ";base64," + base64.StdEncoding.EncodeToString(file.Bytes())
}

// showing is a user's message with some text and images.
func showing(text string, urls ...string) string {
	parts := []string{fmt.Sprintf(`{"type":"text","text":%q}`, text)}
	for _, url := range urls {
		parts = append(parts, fmt.Sprintf(`{"type":"image_url","image_url":{"url":%q,"detail":"high"}}`, url))
	}
	return `{"role":"user","content":[` + strings.Join(parts, ",") + `]}`
}

// conversation is a request with whole messages.
func conversation(model string, stream bool, members string, messages ...string) string {
	return fmt.Sprintf(`{"model":%q,"stream":%t,%s"messages":[%s]}`, model, stream, members, strings.Join(messages, ","))
}

// told puts the text of an answer together, streamed or not.
func told(events []string) string {
	var text strings.Builder
	for _, event := range events {
		text.WriteString(gjson.Get(event, "choices.0.message.content").String())
		text.WriteString(gjson.Get(event, "choices.0.delta.content").String())
	}
	return text.String()
}

func TestImagesReachTheLocalModel(t *testing.T) {
	g, _ := startSeeing(t)
	url := g.url("/chat/completions")
	tests := []struct {
		format        string
		width, height int
		noise         bool
	}{{"png", 1, 1, false}, {"jpeg", 640, 480, false}, {"png", 100, 400, true}, {"jpeg", 333, 50, true}, {"png", 1280, 960, true}}
	for i, tt := range tests {
		for j, c := range colours {
			protocol := protocols[(i+j)%len(protocols)]
			model, stream := []string{"plain", "eager"}[i%2], j%2 == 0
			body := conversation(model, stream, "", showing("Hello", painted(t, tt.format, tt.width, tt.height, c.paint, tt.noise)))
			if got, want := told(fetch(t, g.client(protocol), url, body)), "The image is "+c.name+"."; got != want {
				t.Errorf("%+v, %d bytes, %s, %s, stream %t: got %q, want %q", tt, len(body), protocol, model, stream, got, want)
			}
		}
	}
}

// TestScreenshotsOfAnAgent has the messages that Bytebot sends: each call in a message without content, the results behind
// them, and each screenshot in a user's message behind its result.
func TestScreenshotsOfAnAgent(t *testing.T) {
	g, _ := startSeeing(t)
	tool := func(name string) string {
		return fmt.Sprintf(`{"type":"function","function":{"name":%q,"description":"d","parameters":{"type":"object","properties":{}}}}`, name)
	}
	took := func(n int) string {
		return fmt.Sprintf(`{"role":"assistant","tool_calls":[{"id":"call_%d","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]},`+
			`{"role":"tool","tool_call_id":"call_%d","content":"screenshot"}`, n, n)
	}
	messages := []string{`{"role":"system","content":"You are an agent."}`, showing("Look at the screen.")}
	members := `"max_tokens":8192,"reasoning_effort":"high","tools":[` + tool("computer_screenshot") + `],`
	client, url := g.client("HTTP/1.1"), g.url("/chat/completions")
	for n, c := range colours {
		messages = append(messages, took(n), showing("Screenshot", painted(t, "png", 128, 96, c.paint, true)))
		want := "The tool has answered. The image is " + c.name + "."
		if got := told(fetch(t, client, url, conversation("eager", false, members, messages...))); got != want {
			t.Errorf("screenshot %d: got %q, want %q", n, got, want)
		}
		messages = append(messages, fmt.Sprintf(`{"role":"assistant","content":%q}`, want), showing("Go on."))
		events := fetch(t, client, url, conversation("plain", false, members, messages...))
		if got := gjson.Get(events[0], "choices.0.message.tool_calls.0.function.name").Str; got != "computer_screenshot" {
			t.Errorf("after screenshot %d: got %s", n, events[0])
		}
	}
}

func TestConcurrentImagesAreNotMixedUp(t *testing.T) {
	g, _ := startSeeing(t)
	client, url := g.client("HTTP/2.0"), g.url("/chat/completions")
	var wg sync.WaitGroup
	for i := range 12 {
		c := colours[i%len(colours)]
		first, second := painted(t, "png", 200, 100, c.paint, true), painted(t, "jpeg", 64, 64, colours[(i+1)%len(colours)].paint, false)
		wg.Go(func() {
			body := conversation("plain", i%2 == 0, "", showing("Hello", second, first))
			events, err := post(t.Context(), client, url, body)
			if got, want := told(events), "The image is "+c.name+"."; err != nil || got != want {
				t.Errorf("%d: got %q, %v, want %q", i, got, err, want)
			}
		})
	}
	wg.Wait()
}

func TestImagesElsewhereAreNotFetched(t *testing.T) {
	g, _ := startSeeing(t)
	var fetched atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	defer elsewhere.Close()
	for _, body := range []string{
		conversation("plain", false, "", showing("Hello", elsewhere.URL+"/a.png")),
		conversation("eager", true, "", showing("Hello", strings.ReplaceAll(elsewhere.URL, "http", "HTTP"))),
		conversation("plain", false, "", showing("Hello", "file:///etc/hostname")),
	} {
		a, err := g.ask(t.Context(), g.client("HTTP/1.1"), body)
		if err != nil || a.status/100 != 4 && a.status/100 != 5 || !json.Valid([]byte(a.body)) {
			t.Errorf("got %v, %v", a, err)
		}
		t.Logf("%d %s", a.status, a.body)
		checkDiscreet(t, a.message())
	}
	if n := fetched.Load(); n > 0 {
		t.Errorf("%d images were fetched", n)
	}
}

func TestToolChoiceIsHeeded(t *testing.T) {
	g, _ := startSeeing(t)
	client, url := g.client("HTTP/2.0"), g.url("/chat/completions")
	tool := func(name string) string {
		return fmt.Sprintf(`{"type":"function","function":{"name":%q,"parameters":{"type":"object","properties":{}}}}`, name)
	}
	const hello = "Hello! I am the starter model: small enough to come with the gateway, and made by hand. I repeat code words, go on counting and call tools."
	tests := []struct{ name, choice, call string }{
		{"auto", `"auto"`, "computer_screenshot"},
		{"required", `"required"`, "computer_screenshot"},
		{"none", `"none"`, ""},
		{"named", `{"type":"function","function":{"name":"get_time"}}`, "get_time"},
		{"one of some", `{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"web_search"}}]}}`, "web_search"},
	}
	for _, tt := range tests {
		for _, model := range []string{"plain", "eager"} {
			for _, stream := range []bool{false, true} {
				members := `"tools":[` + tool("get_time") + `,` + tool("computer_screenshot") + `, ` + tool("web_search") + `],"tool_choice":` + tt.choice + ","
				events := fetch(t, client, url, conversation(model, stream, members, showing("Hello")))
				var call string
				for _, event := range events {
					call += gjson.Get(event, "choices.0.message.tool_calls.0.function.name").Str + gjson.Get(event, "choices.0.delta.tool_calls.0.function.name").Str
				}
				if text := told(events); call != tt.call || (text == hello) != (tt.call == "") {
					t.Errorf("%s, %s, stream %t: got call %q and %q, want call %q", tt.name, model, stream, call, text, tt.call)
				}
			}
		}
	}
	a, err := g.ask(t.Context(), client, conversation("plain", false, `"tools":[`+tool("get_time")+`],"tool_choice":{"type":"function","function":{"name":"nobody"}},`, showing("Hello")))
	if err != nil || a.status != http.StatusBadRequest || gjson.Get(a.body, "error.param").Str != "tool_choice" {
		t.Errorf("a tool that is not there: got %v, %v", a, err)
	}
}

// TestCompletionsBesideImages is about a server with a projector, which by itself takes no list of prompts.
func TestCompletionsBesideImages(t *testing.T) {
	g, _ := startSeeing(t)
	client, url := g.client("HTTP/2.0"), g.url("/completions")
	for _, body := range []string{
		`{"model":"plain","prompt":"It was maple. The code word is: "}`,
		`{"model":"plain","prompt":["It was maple. The code word is: "]}`,
		`{"model":"eager","prompt":["It was maple. The code word is: "],"echo":false}`,
	} {
		if got := gjson.Get(fetch(t, client, url, body)[0], "choices.0.text").Str; got != "maple" {
			t.Errorf("%s: got %q, want maple", body, got)
		}
	}
	_, err := post(t.Context(), client, url, `{"model":"plain","prompt":["a","b"]}`)
	if err == nil || !strings.Contains(err.Error(), "one text at a time") {
		t.Errorf("two prompts: got %v", err)
	}
}
