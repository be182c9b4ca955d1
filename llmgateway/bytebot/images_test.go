package bytebot

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg"
	"image/png"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/tokens"
)

// screenshot returns a desktop of a size as a PNG in base64: its seed decides what is on it.
func screenshot(t testing.TB, width, height, seed int) string {
	t.Helper()
	desktop := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			desktop.SetRGBA(x, y, color.RGBA{uint8(x*y/64 + seed), uint8(x ^ y), uint8(y * seed), 255})
		}
	}
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, desktop); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(encoded.Bytes())
}

// imagesOf returns the data of a body's images.
func imagesOf(t *testing.T, text string) (images []string) {
	t.Helper()
	c, ok := read(request(t, text))
	if !ok {
		t.Fatal(text)
	}
	for _, picture := range c.images {
		images = append(images, string(picture.url.in(c.body)))
	}
	return images
}

func TestOldImagesAreLeftOutNowAndThen(t *testing.T) {
	for _, test := range []struct {
		name    string
		options Options
		kept    []int // of 1, 2, 3 ... screenshots
	}{
		{"as a rule", Options{}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 4, 5, 6, 7, 8, 9, 10, 4}},
		{"no more than three", Options{MaxImages: 3, KeepImages: 1}, []int{1, 2, 3, 1, 2, 3, 1}},
		{"always three", Options{MaxImages: 3, KeepImages: 3}, []int{1, 2, 3, 3, 3, 3}},
		{"all", Options{MaxImages: -1}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAdapter(t, Config{Options: test.options})
			for i, want := range test.kept {
				got := adapted(t, a, body(longTask(i+1)...))
				kept := imagesOf(t, got)
				if len(kept) != want || !strings.HasSuffix(kept[want-1], fmt.Sprintf("AAA%d", i)) {
					t.Errorf("of %d images %v stay, want %d", i+1, kept, want)
				}
				if left := strings.Count(got, oldImageText); left != i+1-want {
					t.Errorf("%d texts in place of %d images", left, i+1-want)
				}
			}
		})
	}
}

func TestEqualScreenshotsAreSentOnce(t *testing.T) {
	a := newAdapter(t, Config{Options: Options{MaxImages: 2, KeepImages: 1}})
	messages := []string{systemMessage, task}
	for i, data := range []string{"AAAA", "AAAA", "BBBB", "BBBB", "BBBB", "AAAA"} {
		id := fmt.Sprint("call_", i)
		messages = append(messages, calls(id, "computer_wait", "{}"), answers(id, "done"), shows(data))
	}
	for n, want := range [][]string{{"AAAA"}, {"AAAA"}, {"AAAA", "BBBB"}, {"AAAA", "BBBB"}, {"AAAA", "BBBB"}, {"AAAA"}} {
		got := adapted(t, a, body(messages[:2+3*(n+1)]...))
		var data []string
		for _, url := range imagesOf(t, got) {
			data = append(data, strings.TrimPrefix(url, "data:image/png;base64,"))
		}
		if !slices.Equal(data, want) {
			t.Errorf("after %d: got %v, want %v", n+1, data, want)
		}
	}
	text := body(messages...)
	if got := imagesOf(t, adapted(t, newAdapter(t, Config{KeepEqualImages: true}), text)); len(got) != 6 {
		t.Errorf("switched off: got %d images", len(got))
	}
}

// A target's own bounds apply on top, and count what was left out before, so that they too leave out in steps.
func TestTargetsHaveBoundsOfTheirOwn(t *testing.T) {
	a := newAdapter(t, Config{Targets: map[string]Options{"few": {MaxImages: 3, KeepImages: 1}, "few/many": {MaxImages: -1}, "more": {MaxImages: 20, KeepImages: 10}, "light": {MaxRequestBytes: 3000}}})
	for _, test := range []struct {
		to    llmgateway.Destination
		turns int
		want  int
	}{
		{llmgateway.Destination{Provider: "few", Model: "x"}, 3, 3},
		{llmgateway.Destination{Provider: "few", Model: "x"}, 4, 1},
		{llmgateway.Destination{Provider: "few", Model: "x"}, 11, 2},
		{llmgateway.Destination{Provider: "few", Model: "many"}, 9, 9},
		{llmgateway.Destination{Provider: "few", Model: "many"}, 15, 15},
		{llmgateway.Destination{Provider: "more"}, 15, 15},
		{llmgateway.Destination{Provider: "more"}, 21, 10},
		{llmgateway.Destination{Provider: "other"}, 9, 9},
		{llmgateway.Destination{Provider: "other"}, 11, 4},
	} {
		s := &server{to: test.to, says: fine}
		if _, err := s.ask(t, a, body(longTask(test.turns)...)); err != nil {
			t.Fatal(err)
		}
		if got := len(imagesOf(t, s.sent[0])); got != test.want {
			t.Errorf("%v, %d turns: got %d images, want %d", test.to, test.turns, got, test.want)
		}
	}
	messages := []string{systemMessage, task}
	for i := range 6 {
		id := fmt.Sprint("call_", i)
		messages = append(messages, calls(id, "computer_wait", "{}"), answers(id, "done"), shows(strings.Repeat(fmt.Sprint(i), 600)))
	}
	s := &server{to: llmgateway.Destination{Provider: "light"}, says: fine}
	if _, err := s.ask(t, a, body(messages...)); err != nil {
		t.Fatal(err)
	}
	if got := s.sent[0]; len(got) > 3200 || len(imagesOf(t, got)) == 0 {
		t.Errorf("sent %d bytes with %d images", len(got), len(imagesOf(t, got)))
	}
}

func TestImagesAreMadeSmaller(t *testing.T) {
	big := screenshot(t, 640, 480, 1)
	a := newAdapter(t, Config{Options: Options{Encoding: Encoding{JPEG: 75, MaxEdge: 320}}})
	s := &server{says: func(_ map[string]any, raw string) (string, error) {
		if !strings.Contains(raw, "a desktop of 320 x 240 pixels") {
			t.Error("the system still tells the old size")
		}
		if !strings.Contains(raw, `{\"x\":100,\"y\":50}`) {
			t.Error("earlier coordinates are not those of the smaller image")
		}
		return calling("b", "computer_click_mouse", `{"coordinates":{"x":160,"y":120}}`, 1), nil
	}}
	text := body(strings.Replace(systemMessage, "1280 x 960", "640 x 480", 1), task, calls("a", "computer_click_mouse", `{"x":200,"y":100}`), answers("a", "done"), shows(big))
	answer, err := s.ask(t, a, text)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(answer.Data), `{\"x\":320,\"y\":240}`) {
		t.Errorf("the answer's coordinates are not the screen's: %s", answer.Data)
	}
	url := imagesOf(t, s.sent[0])[0]
	encoded, ok := strings.CutPrefix(url, "data:image/jpeg;base64,")
	if width, height := tokens.ImageSize([]byte(encoded)); !ok || width != 320 || height != 240 {
		t.Errorf("got %.40s, %d x %d", url, width, height)
	}
	if len(encoded) > len(big)/2 {
		t.Errorf("%d bytes of %d", len(encoded), len(big))
	}
	if _, err := s.ask(t, a, text); err != nil || s.sent[1] != s.sent[0] {
		t.Error("the same request is sent in another way")
	}
	if n := a.config.Memory.images.EstimatedSize(); n != 1 {
		t.Errorf("%d images are remembered, want 1", n)
	}
}

// Only what is an image, and becomes smaller, is encoded anew.
func TestOtherImagesStayAsTheyAre(t *testing.T) {
	small := screenshot(t, 16, 16, 1)
	for name, url := range map[string]string{
		"no image": "data:image/png;base64,AAAA", "a link": "https://example.com/a.png", "no base64": "data:image/png,x",
		"a small one": "data:image/png;base64," + small, "cut off": "data:image/png;base64," + screenshot(t, 900, 600, 1)[:4000],
	} {
		if r := encode([]byte(url), Encoding{JPEG: 90, MaxEdge: 800}); r.url != "" || r.from != r.to {
			t.Errorf("%s: got %+v", name, r)
		}
	}
	huge := "data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\x00\x00\x00"))
	if r := encode([]byte(huge), Encoding{MaxEdge: 8}); r.url != "" {
		t.Errorf("huge: got %+v", r)
	}
}

func TestManyMayEncodeAtTheSameTime(t *testing.T) {
	a := newAdapter(t, Config{})
	var all sync.WaitGroup
	for i := range 8 {
		url := []byte("data:image/png;base64," + screenshot(t, 64, 48, i%2))
		all.Go(func() {
			if r, err := a.config.Memory.recode(t.Context(), url, Encoding{MaxEdge: 32}); err != nil || r.to != image.Pt(32, 24) {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
	all.Wait()
}

func FuzzScaled(f *testing.F) {
	f.Add(`{"coordinates":{"x":1,"y":2.5}}`, 1000, 1280)
	f.Add(`{"path":[{"x":1e400,"y":-3}],"x":null}`, 3, 7)
	f.Fuzz(func(t *testing.T, arguments string, from, to int) {
		if from <= 0 || to <= 0 || from > 1<<20 || to > 1<<20 {
			return
		}
		got := scaled(quote(arguments), image.Pt(from, from), image.Pt(to, to))
		if text([]byte(got)) == "" && arguments != "" {
			t.Errorf("got %q of %q", got, arguments)
		}
	})
}

// A model that cannot see reads the same whether an image was left out or could not be shown.
func TestModelThatCannotSeeKeepsItsPrefix(t *testing.T) {
	s := &server{to: llmgateway.Destination{Limits: llmgateway.Limits{Cannot: llmgateway.CanSee}}, says: fine}
	a := newAdapter(t, Config{})
	for _, turns := range []int{defaultMaxImages, defaultMaxImages + 1} {
		if _, err := s.ask(t, a, body(longTask(turns)...)); err != nil {
			t.Fatal(err)
		}
	}
	var before, after struct{ Messages []json.RawMessage }
	if err := errors.Join(json.Unmarshal([]byte(s.sent[0]), &before), json.Unmarshal([]byte(s.sent[1]), &after)); err != nil {
		t.Fatal(err)
	}
	for i, m := range before.Messages {
		if string(m) != string(after.Messages[i]) {
			t.Fatalf("message %d was %s and is %s", i, m, after.Messages[i])
		}
	}
}
