package openai

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestSpliceChangesNothingThatNeedNotChange(t *testing.T) {
	bodies := requestFixtures(t)
	for _, body := range []string{
		`{"model":"m"}`,
		" { \"model\"\t:\n\"m\" , \"stream\" : false }\r\n",
		`{"mod\u0065l":"\u006d","model":"m"}`,
		`{"model":"m","provider":{"order":["a"],"allow_fallbacks":false}}`,
		`{"model":"m","stream":null,"stream_options":null}`,
		`{"model":"m","n":12345678901234567890,"x":1e400,"y":0.10,"z":-0}`,
		`{"model":"m","x":1,"x":2,"":{},"\u0000":"\u0000\ud800"}`,
		"{\"model\":\"m\",\"x\":\"not \xff UTF-8 and a \x01\"}",
		nestedRequest(maxDepth),
	} {
		bodies[body[:min(len(body), 80)]] = []byte(body)
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			if got := spliced(read(t, string(body))); got != string(body) {
				t.Errorf("got  %s\nwant %s", got, body)
			}
		})
	}
}

func nestedRequest(levels int) string {
	return `{"model":"m","a":` + strings.Repeat("[", levels) + strings.Repeat("]", levels) + `}`
}

func TestSpliceReplacesTheModelAndNothingElse(t *testing.T) {
	for name, body := range requestFixtures(t) {
		t.Run(name, func(t *testing.T) {
			r := read(t, string(body))
			m, _ := r.Lookup("model")
			r.Model = `vendor/"other"\model`
			want := string(body[:m.Value]) + `"vendor/\"other\"\\model"` + string(body[m.End:])
			if got := spliced(r); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	tests := []struct{ body, model, want string }{
		{`{"model":"a"}`, "b", `{"model":"b"}`},
		{`{ "mod\u0065l" : "a" }`, "b", `{ "mod\u0065l" : "b" }`},
		{`{"model":"a","x":1,"model":"c"}`, "b", `{"model":"b","x":1,"model":"b"}`},
		{`{"model":null,"model":5,"model":{"a":1},"model":"c"}`, "b", `{"model":"b","model":"b","model":"b","model":"b"}`},
		{`{"model":"b","x":1,"model":"c"}`, "b", `{"model":"b","x":1,"model":"b"}`},
		// The same name, written otherwise, is left as the client wrote it.
		{`{"model":"\u0062"}`, "b", `{"model":"\u0062"}`},
		{`{"model":"a\/b"}`, "a/b", `{"model":"a\/b"}`},
		// Other names that look the same before they are decoded.
		{`{"model":"a\\b"}`, `a\\b`, `{"model":"a\\\\b"}`},
		{`{"model":"\u0062"}`, `\u0062`, `{"model":"\\u0062"}`},
		{`{"model":"a"}`, "a\"b\\\n\u2028<>&è🐧", `{"model":"a\"b\\\n\u2028\u003c\u003e\u0026è🐧"}`},
	}
	for _, test := range tests {
		t.Run(test.body, func(t *testing.T) {
			r := read(t, test.body)
			r.Model = test.model
			if got := spliced(r); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestSpliceRemovesTheProviderThatWasForTheGateway(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"first", `{"provider":"p","model":"m"}`, `{"model":"m"}`},
		{"first, spaced", `{ "provider" : "p" , "model" : "m" }`, `{ "model" : "m" }`},
		{"middle", `{"model":"m","provider":"p","x":1}`, `{"model":"m","x":1}`},
		{"middle, spaced", `{ "model" : "m" , "provider" : "p" , "x" : 1 }`, `{ "model" : "m" , "x" : 1 }`},
		{"last", `{"model":"m","provider":"p"}`, `{"model":"m"}`},
		{"last, spaced", "{\n\t\"model\": \"m\",\n\t\"provider\": \"p\"\n}", "{\n\t\"model\": \"m\"\n}"},
		{"escaped", `{"model":"m","provid\u0065r":"p"}`, `{"model":"m"}`},
		{"first twice", `{"provider":"p","provider":"q","model":"m"}`, `{"model":"m"}`},
		{"last twice", `{"model":"m","provider":"p","provider":"q"}`, `{"model":"m"}`},
		{"everywhere", `{"provider":"p","model":"m","provider":"q","x":1,"provider":"r"}`, `{"model":"m","x":1}`},
		{"null", `{"provider":null,"model":"m"}`, `{"model":"m"}`},
		{"beside an object", `{"provider":"p","provider":{"order":[]},"model":"m"}`, `{"provider":{"order":[]},"model":"m"}`},
		{"behind an object", `{"provider":{"order":[]},"provider":"p","model":"m"}`, `{"provider":{"order":[]},"model":"m"}`},
		{"an object", `{"provider":{"order":["p"]},"model":"m"}`, `{"provider":{"order":["p"]},"model":"m"}`},
		{"inside another member", `{"model":"m","metadata":{"provider":"p"}}`, `{"model":"m","metadata":{"provider":"p"}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := spliced(read(t, test.body)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestSpliceEditsMembers(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"behind", `{"model":"m","a":[1],"b":"x"}`, `{"model":"M","a":[2, 3]}`},
		{"in front", `{"b":"x","a":[1],"model":"m"}`, `{"a":[2, 3],"model":"M"}`},
		{"nothing left in front", `{"b":"x","b":1,"model":"m"}`, `{"model":"M"}`},
		{"among others", `{"x":1,"b":"x","y":2,"a":[1],"model":"m"}`, `{"x":1,"y":2,"a":[2, 3],"model":"M"}`},
		{"spaced", `{ "model" : "m" , "b" : "x" , "a" : [ 1 ] }`, `{ "model" : "M" , "a" : [2, 3] }`},
		{"repeated", `{"a":1,"model":"m","a":2,"b":1,"b":2}`, `{"a":[2, 3],"model":"M","a":[2, 3]}`},
		{"with a provider", `{"b":1,"provider":"p","model":"m","b":2,"provider":"p","a":1}`, `{"model":"M","a":[2, 3]}`},
		{"not there", `{"model":"m"}`, `{"model":"M"}`},
		{"inside another member", `{"model":"m","x":{"a":1,"b":2}}`, `{"model":"M","x":{"a":1,"b":2}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := read(t, test.body)
			r.Model = "M"
			r.Edits = []llmgateway.Edit{{Name: "a", Value: "[2, 3]"}, {Name: "b"}}
			if got := spliced(r); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestSpliceAsksForAStreamThatTheClientDidNot covers targets with a deadline for the first token.
func TestSpliceAsksForAStreamThatTheClientDidNot(t *testing.T) {
	const both = `"stream":true,"stream_options":{"include_usage":true}`
	tests := []struct{ name, body, want string }{
		{"neither is there", `{"model":"m"}`, `{"model":"m",` + both + `}`},
		{"more behind", `{"model":"m","x":1}`, `{"model":"m",` + both + `,"x":1}`},
		{"stream is false", `{"stream":false,"model":"m"}`, `{"stream":true,"model":"m","stream_options":{"include_usage":true}}`},
		{"stream is null", `{"model":"m","stream":null}`, `{"model":"m","stream_options":{"include_usage":true},"stream":true}`},
		{"stream twice", `{"model":"m","stream":true,"stream":false}`, `{"model":"m","stream_options":{"include_usage":true},"stream":true,"stream":true}`},
		{"options are null", `{"stream_options":null,"model":"m","stream":false}`, `{"stream_options":{"include_usage":true},"model":"m","stream":true}`},
		{"options without usage", `{"model":"m","stream_options":{"include_usage":false}}`, `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`},
		{"model twice", `{"model":"m","model":"m"}`, `{"model":"m","model":"m",` + both + `}`},
		{"provider behind the model", `{"model":"m","provider":"p"}`, `{"model":"m",` + both + `}`},
		{"provider before the model", `{"provider":"p","model":"m"}`, `{"model":"m",` + both + `}`},
		{"spaced", "{ \"model\" : \"m\" }\n", "{ \"model\" : \"m\"," + both + " }\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := read(t, test.body)
			r.Stream = true
			if got := spliced(r); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestSpliceAddsMembersUnlessTheClientHasThem(t *testing.T) {
	tests := []struct {
		name, body string
		stream     bool
		want       string
	}{
		{"missing", `{"model":"m","x":1}`, false, `{"model":"m","id_slot":3,"a\"b":[],"x":1}`},
		{"with a stream", `{"model":"m"}`, true, `{"model":"m","stream":true,"stream_options":{"include_usage":true},"id_slot":3,"a\"b":[]}`},
		{"the client's own", `{"id_slot":1,"model":"m","a\"b":0}`, false, `{"id_slot":1,"model":"m","a\"b":0}`},
		{"the client's own, in disguise", `{"model":"m","id\u005fslot":null}`, false, `{"model":"m","a\"b":[],"id\u005fslot":null}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := read(t, test.body)
			r.Stream = test.stream
			r.Additions = []llmgateway.Edit{{Name: "id_slot", Value: "3"}, {Name: `a"b`, Value: "[]"}}
			if got := spliced(r); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestSpliceAsksForAStreamsUsage(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"no options", `{"model":"m","stream":true}`, `{"model":"m","stream_options":{"include_usage":true},"stream":true}`},
		{"null", `{"model":"m","stream":true,"stream_options":null}`, `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`},
		{"empty", `{"model":"m","stream":true,"stream_options":{}}`, `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`},
		{
			"declined", `{"model":"m","stream":true,"stream_options":{"include_usage": false ,"x":1}}`,
			`{"model":"m","stream":true,"stream_options":{"include_usage": true ,"x":1}}`,
		},
		{
			"other options", `{"model":"m","stream":true,"stream_options":{ "x":1 }}`,
			`{"model":"m","stream":true,"stream_options":{ "x":1,"include_usage":true }}`,
		},
		{
			"asked for already", `{"model":"m","stream":true,"stream_options":{"x":1, "include_usage":true}}`,
			`{"model":"m","stream":true,"stream_options":{"x":1, "include_usage":true}}`,
		},
		{"no stream", `{"model":"m","stream_options":{"x":1}}`, `{"model":"m","stream_options":{"x":1}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := spliced(read(t, test.body)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestSpliceSharesTheClientsBytes(t *testing.T) {
	image := strings.Repeat("A", 1<<20)
	r := read(t, `{"messages":"`+image+`","model":"a","x":"`+image+`"}`)
	r.Model, r.Stream = "b", true
	segments, size := splice(r)
	clear(r.Body.Bytes)
	total, copied := 0, 0
	for _, segment := range segments {
		total += len(segment)
		copied += len(segment) - bytes.Count(segment, []byte{0})
	}
	if total != size {
		t.Errorf("got size %d for %d bytes", size, total)
	}
	if copied > 100 {
		t.Errorf("copied %d bytes", copied)
	}
}

// FuzzSplice compares what is sent with the difference that was asked for, as encoding/json sees it.
func FuzzSplice(f *testing.F) {
	addRequests(f, func(body []byte) {
		f.Add(body, "m", false)
		f.Add(body, `other "model"\`, true)
	})
	f.Fuzz(func(t *testing.T, body []byte, model string, stream bool) {
		r, err := Read(llmgateway.Chat, llmgateway.NewBody(slices.Clone(body)))
		if err != nil {
			return
		}
		if model != "" {
			r.Model = model
		}
		r.Stream = r.Stream || stream
		if stream {
			r.Edits = []llmgateway.Edit{{Name: "tools"}, {Name: "messages", Value: `[{"a":"b"}]`}}
		}
		segments, size := splice(r)
		got := bytes.Join(segments, nil)
		if len(got) != size {
			t.Fatalf("got size %d for %d bytes", size, len(got))
		}
		if !bytes.Equal(r.Body.Bytes, body) {
			t.Fatal("the client's bytes were changed")
		}
		if !json.Valid(body) || !utf8.Valid(body) || !utf8.ValidString(model) {
			if _, err := scanObject(got, nil, nil); err != nil {
				t.Fatalf("%s became %s: %v", body, got, err)
			}
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%s became %s", body, got)
		}
		want := expectedMembers(decodeMembers(t, body), r)
		if members := decodeMembers(t, got); !slices.Equal(members, want) {
			t.Errorf("%s became %s\ngot  %q\nwant %q", body, got, members, want)
		}
	})
}

// expectedMembers returns what is to be sent of what the client sent.
func expectedMembers(members []member, r *llmgateway.Request) []member {
	merging := r.Stream && !r.ClientStream
	counting := r.Stream && !r.ClientUsage
	last := 0
	names := make(map[string]bool)
	for i, m := range members {
		names[m.name] = true
		if m.name == "model" {
			last = i
		}
	}
	var want []member
	for i, m := range members {
		switch {
		case m.name == "provider" && m.raw[0] != '{', m.name == "tools" && r.Edits != nil:
			continue
		case m.name == "messages" && r.Edits != nil:
			m.raw = `[{"a":"b"}]`
		case m.name == "model":
			if s, ok := decodeString(m.raw); m.raw == "null" || !ok || s != r.Model {
				m.raw = string(quote(r.Model))
			}
		case m.name == "stream" && merging:
			m.raw = "true"
		case m.name == "stream_options" && counting:
			m.raw = withUsage(m.raw)
		}
		want = append(want, m)
		if i == last && merging && !names["stream"] {
			want = append(want, member{"stream", "true"})
		}
		if i == last && counting && !names["stream_options"] {
			want = append(want, member{"stream_options", `{"include_usage":true}`})
		}
	}
	return want
}

// withUsage returns a stream's options with the usage asked for.
func withUsage(options string) string {
	members := gjson.Parse(options)
	if !members.IsObject() || members.Raw == "{}" || len(members.Map()) == 0 {
		return `{"include_usage":true}`
	}
	var s strings.Builder
	at, asked := 0, false
	last := 0
	members.ForEach(func(name, value gjson.Result) bool {
		last = value.Index + len(value.Raw)
		if name.String() == "include_usage" {
			s.WriteString(options[at:value.Index] + "true")
			at, asked = last, true
		}
		return true
	})
	if !asked {
		s.WriteString(options[at:last] + `,"include_usage":true`)
		at = last
	}
	return s.String() + options[at:]
}

// read makes a chat request of a body.
func read(t testing.TB, body string) *llmgateway.Request {
	t.Helper()
	r, err := Read(llmgateway.Chat, llmgateway.NewBody([]byte(body)))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return r
}

// spliced returns the body that is sent for r.
func spliced(r *llmgateway.Request) string {
	segments, _ := splice(r)
	return string(bytes.Join(segments, nil))
}

func TestSpliceDoesNotAskForAUsageThatComes(t *testing.T) {
	r := read(t, `{"model":"m","stream":true,"stream_options":{"x":1}}`)
	r.UsageComes = true
	if got := spliced(r); got != string(r.Body.Bytes) {
		t.Errorf("got %s", got)
	}
	r = read(t, `{"model":"m"}`)
	r.UsageComes, r.Stream = true, true // the whole answer is to have one
	if got, want := spliced(r), `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
