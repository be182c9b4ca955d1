package openai

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// streams are what servers send, and the events in it.
var streams = []struct {
	name   string
	stream string
	want   []string
}{
	{"LF", "data: a\n\ndata: b\n\n", []string{"a", "b"}},
	{"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}},
	{"LF and CRLF", "data: a\n\r\ndata: b\r\n\n", []string{"a", "b"}},
	{"no space", "data:a\n\ndata:  b\n\n", []string{"a", " b"}},
	{"byte order mark", "\xef\xbb\xbfdata: a\n\ndata: b\n\n", []string{"a", "b"}},
	{"several lines", "data: {\ndata:   \"a\": 1\ndata: }\n\n", []string{"{\n  \"a\": 1\n}"}},
	{"several lines, CRLF", "data: {\r\ndata: }\r\n\r\ndata: b\r\n\r\n", []string{"{\n}", "b"}},
	{"comments", ": hello\n\n: ping\ndata: a\n: between\n\n:\n\ndata: b\n\n", []string{"a", "b"}},
	{"comment inside", "data: a\n: inside\ndata: b\n\n", []string{"a\nb"}},
	{"OpenRouter's comments", ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: a\n\n", []string{"a"}},
	{"other fields", "event: chunk\nid: 7\nretry: 100\ndata: a\n\nunknown: x\nunknown\n\ndata: b\n\n", []string{"a", "b"}},
	{"fields behind the data", "data: a\nevent: chunk\n\n", []string{"a"}},
	{"names that only begin so", "data2: a\ndataa\n data: b\n\ndata: c\n\n", []string{"c"}},
	{"errors", "error: {\"code\":500}\n\ndata: a\n\n", []string{`{"code":500}`, "a"}},
	{"no data in the field", "data\n\ndata:\n\n", []string{"", ""}},
	{"more blank lines", "\n\n\r\n\ndata: a\n\n\n\n\ndata: b\n\n\n", []string{"a", "b"}},
	{"end marker", "data: a\n\ndata: [DONE]\n\n", []string{"a", "[DONE]"}},
	{"cut off behind a line", "data: a\n\ndata: b\n", []string{"a"}},
	{"cut off inside a line", "data: a\n\ndata: b", []string{"a"}},
	{"a lone CR is data", "data: a\rb\n\n", []string{"a\rb"}},
	{"NUL", "data: a\x00b\n\n\x00\n\ndata: c\n\n", []string{"a\x00b", "c"}},
	{"empty", "", nil},
	{"no event", ": ping\n\nevent: x\n\n", nil},
	{"not a stream", "<html>\n<body>\n\nBad Gateway", nil},
	{"one that fills the buffer", "data: " + strings.Repeat("a", eventBuffer) + "\n\ndata: b\n\n", []string{strings.Repeat("a", eventBuffer), "b"}},
	{"several lines of more than the buffer", strings.Repeat("data: "+strings.Repeat("a", 1000)+"\n", 20) + "\n", []string{strings.TrimSuffix(strings.Repeat(strings.Repeat("a", 1000)+"\n", 20), "\n")}},
}

func TestEventReaderReadsWhatServersSend(t *testing.T) {
	for _, test := range streams {
		t.Run(test.name, func(t *testing.T) {
			got, err := readEvents(strings.NewReader(test.stream))
			if err != io.EOF || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// TestEventReaderDoesNotCareHowBytesArrive cuts every stream at every byte, and into single bytes.
func TestEventReaderDoesNotCareHowBytesArrive(t *testing.T) {
	for _, test := range streams {
		t.Run(test.name, func(t *testing.T) {
			for cut := range min(len(test.stream), 200) {
				r := io.MultiReader(strings.NewReader(test.stream[:cut]), strings.NewReader(test.stream[cut:]))
				if got, err := readEvents(r); err != io.EOF || !slices.Equal(got, test.want) {
					t.Fatalf("cut at %d: got %q, %v; want %q", cut, got, err, test.want)
				}
			}
			for name, wrap := range map[string]func(io.Reader) io.Reader{
				"single bytes": iotest.OneByteReader, "halves": iotest.HalfReader, "end with the data": iotest.DataErrReader,
			} {
				if got, err := readEvents(wrap(strings.NewReader(test.stream))); err != io.EOF || !slices.Equal(got, test.want) {
					t.Errorf("%s: got %q, %v; want %q", name, got, err, test.want)
				}
			}
		})
	}
}

func TestEventReaderReturnsTheReadersErrorAfterTheEvents(t *testing.T) {
	reset := errors.New("connection reset")
	got, err := readEvents(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(reset)))
	if want := []string{"a"}; !slices.Equal(got, want) || !errors.Is(err, reset) {
		t.Errorf("got %q, %v; want %q and the reader's error", got, err, want)
	}
}

func TestEventReaderGivesUpOnAReaderThatReturnsNothing(t *testing.T) {
	_, err := readEvents(readerFunc(func([]byte) (int, error) { return 0, nil }))
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want io.ErrNoProgress", err)
	}
}

func TestEventReaderBoundsAnEvent(t *testing.T) {
	if testing.Short() {
		t.Skip("reads hundreds of megabytes")
	}
	line := bytes.Repeat([]byte("a"), 1<<20)
	for name, unit := range map[string][]byte{
		"one line without end":     line,
		"lines without a blank":    append([]byte("data: "), append(slices.Clip(line), '\n')...),
		"short lines":              bytes.Repeat([]byte("data:\n"), 1<<16),
		"a comment without an end": append([]byte(":"), line...),
	} {
		t.Run(name, func(t *testing.T) {
			endless := &cycle{unit: unit}
			_, err := readEvents(io.MultiReader(strings.NewReader("data: "), endless))
			if !errors.Is(err, errEventTooLarge) {
				t.Errorf("got %v, want errEventTooLarge", err)
			}
			if most := maxEvent + 2<<20; endless.n > most {
				t.Errorf("read %d bytes, which is more than %d", endless.n, most)
			}
		})
	}
}

func TestEventReaderReadsAnEventOfManyMegabytes(t *testing.T) {
	image := strings.Repeat("A", 9<<20)
	got, err := readEvents(strings.NewReader("data: " + image + "\n\ndata: b\n\n"))
	if err != io.EOF || len(got) != 2 || got[0] != image || got[1] != "b" {
		t.Errorf("got %d events, %v", len(got), err)
	}
}

// TestMoreIsTrueOnlyIfAnEventIsAtHand keeps an event from waiting, unflushed, for one that has not come.
func TestMoreIsTrueOnlyIfAnEventIsAtHand(t *testing.T) {
	tests := []struct {
		name string
		rest string
		want bool
	}{
		{"nothing", "", false},
		{"an event", "data: b\n\n", true},
		{"an event and a half", "data: b\n\ndata: c", true},
		{"half an event", "data: b", false},
		{"a line of an event", "data: b\n", false},
		{"a comment", ": ping\n\n", false},
		{"comments", ": ping\n\n: ping\n\n", false},
		{"a field that is no data", "event: x\n\n", false},
		{"blank lines", "\n\n\r\n\n", false},
		{"the end marker", "data: [DONE]\n\n", false},
		{"the end marker without a space", "data:[DONE]\n\n", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newEventReader(strings.NewReader("data: a\n\n" + test.rest))
			defer e.free()
			if _, err := e.next(); err != nil {
				t.Fatal(err)
			}
			if got := e.more(); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}

// FuzzEvents reads the same bytes at once and in pieces, and compares with a plain reading of the specification.
func FuzzEvents(f *testing.F) {
	for _, s := range streams {
		f.Add([]byte(s.stream), uint8(len(s.stream)), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, first, piece uint8) {
		want := specifiedEvents(string(stream))
		got, err := readEvents(bytes.NewReader(stream))
		if err != io.EOF || !slices.Equal(got, want) {
			t.Fatalf("at once: got %q, %v; want %q", got, err, want)
		}
		got, err = readEvents(&pieces{rest: stream, first: int(first), then: int(piece)})
		if err != io.EOF || !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d, %d: got %q, %v; want %q", first, piece, got, err, want)
		}
	})
}

// specifiedEvents reads a stream as the specification says, for lines that end in LF or CRLF.
func specifiedEvents(stream string) (events []string) {
	lines := strings.Split(stream, "\n")
	var data []string
	for _, line := range lines[:len(lines)-1] { // what follows the last line break is no line
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			if data != nil {
				events = append(events, strings.Join(data, "\n"))
			}
			data = nil
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "data", name == "\xef\xbb\xbfdata" && value != "" || strings.HasPrefix(line, "\xef\xbb\xbfdata:"),
			strings.HasPrefix(line, "error:"):
			data = append(data, value)
		}
	}
	return events
}

var oldEvents = bytes.Repeat([]byte("data: old\n\n"), eventBuffer/11+1)

// readEvents reads to the reader's end, through a buffer whose old content must not show.
func readEvents(r io.Reader) (events []string, err error) {
	e := newEventReader(r)
	defer e.free()
	copy(e.buf, oldEvents)
	for {
		data, err := e.next()
		if err != nil {
			return events, err
		}
		e.more()
		events = append(events, string(data))
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// cycle repeats its unit for ever.
type cycle struct {
	unit []byte
	at   int
	n    int
}

func (c *cycle) Read(b []byte) (int, error) {
	n := copy(b, c.unit[c.at:])
	c.at = (c.at + n) % len(c.unit)
	c.n += n
	return n, nil
}

// pieces returns its bytes in pieces of some size.
type pieces struct {
	rest        []byte
	first, then int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(len(p.rest), max(p.first, 1))])
	p.rest, p.first = p.rest[n:], p.then
	return n, nil
}
