package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestScanFindsEveryMember(t *testing.T) {
	for name, body := range requestFixtures(t) {
		t.Run(name, func(t *testing.T) { checkMembers(t, body) })
	}
	for _, body := range []string{
		`{}`,
		" \t\r\n{ \t\r\n} \t\r\n",
		`{"a":1}`,
		`{"a":{"a":{"a":[]}},"b":[{},[{}]],"":null}`,
		`{"a":1,"a":2,"a":3}`,
		"{\"a\"\r\n:\t-0.5e+10 ,\"b\" : \"\\\\\" , \"c\":\"\\\"\"\n}",
		`{"mod\u0065l":"x","\u006dessages":[],"\ud83d\udc27":1,"\ud83d":2,"a\nb":3}`,
		`{"s":"{\"a\":[","t":"]}\\\\","u":"\\u0022"}`,
	} {
		t.Run(body, func(t *testing.T) { checkMembers(t, []byte(body)) })
	}
}

// TestScanReadsNumbersAsTheGrammarSays has the cases of RFC 8259, section 6.
func TestScanReadsNumbersAsTheGrammarSays(t *testing.T) {
	for number, want := range map[string]bool{
		"0": true, "-0": true, "10": true, "0.0": true, "1e5": true, "1E+5": true, "1e-05": true, "-1.5e1": true, "1e400": true,
		"12345678901234567890": true,
		"01":                   false, "-01": false, "00": false, "+1": false, "-": false, ".5": false, "1.": false, "1.e5": false, "1e": false, "1e+": false,
		"0x10": false, "1_000": false, "NaN": false, "Infinity": false, "-Infinity": false, "1 2": false, "--1": false,
	} {
		_, err := scanObject([]byte(`{"n":`+number+`}`), nil, nil)
		if got := err == nil; got != want {
			t.Errorf("%s: got %t, want %t", number, got, want)
		}
	}
}

func TestScanSaysWhereItStopsToBeJSON(t *testing.T) {
	tests := []struct {
		body string
		want string
	}{
		{``, "byte 0: expected a JSON object"},
		{`[]`, "byte 0: expected a JSON object"},
		{` "x"`, "byte 1: expected a JSON object"},
		{"\xef\xbb\xbf{}", "byte 0: expected a JSON object"},
		{`{`, "byte 1: expected a member name"},
		{`{a:1}`, "byte 1: expected a member name"},
		{`{"a" 1}`, "byte 5: expected ':'"},
		{`{"a":}`, "byte 5: expected a value"},
		{`{"a":1,}`, "byte 7: expected a member name"},
		{`{"a":1 "b":2}`, "byte 7: expected ',' or '}'"},
		{`{"a":1`, "byte 6: expected ',' or '}'"},
		{`{"a":[1,]}`, "byte 8: expected a value"},
		{`{"a":[1}`, "byte 7: expected ',' or ']'"},
		{`{"a":{"b":1]}`, "byte 11: expected ',' or '}'"},
		{`{"a":tru}`, "byte 5: expected true"},
		{`{"a":nul`, "byte 5: expected null"},
		{`{"a":fals`, "byte 5: expected false"},
		{`{"a":01}`, "byte 5: expected a number"},
		{`{"a":1.}`, "byte 7: expected a digit"},
		{`{"a":1e}`, "byte 7: expected a digit"},
		{`{"a":"b}`, "byte 8: expected the end of the string that starts at byte 5"},
		{`{"a":"b\"}`, "byte 10: expected the end of the string that starts at byte 5"},
		{`{"a":1}}`, "byte 7: expected the end of the body"},
		{`{"a":1} {"b":2}`, "byte 8: expected the end of the body"},
		{"{}\x00", "byte 2: expected the end of the body"},
	}
	for _, test := range tests {
		_, err := scanObject([]byte(test.body), nil, nil)
		if _, ok := errors.AsType[*syntaxError](err); !ok {
			t.Errorf("%s: got %v, want a syntax error", test.body, err)
			continue
		}
		if want := "not valid JSON at " + test.want; err.Error() != want {
			t.Errorf("%s: got %q, want %q", test.body, err, want)
		}
	}
}

func TestScanBoundsHowDeepValuesAreNested(t *testing.T) {
	for _, brackets := range []string{"[]", "{}"} {
		for levels, want := range map[int]bool{maxDepth: true, maxDepth + 1: false, 1_000_000: false} {
			_, err := scanObject([]byte(nested(brackets, levels)), nil, nil)
			if got := err == nil; got != want {
				t.Errorf("%d levels of %s: got %t, want %t", levels, brackets, got, want)
			}
		}
	}
}

// nested returns an object whose member holds levels of arrays or objects.
func nested(brackets string, levels int) string {
	if brackets == "[]" {
		return `{"a":` + strings.Repeat("[", levels) + strings.Repeat("]", levels) + `}`
	}
	return strings.Repeat(`{"a":`, levels+1) + "1" + strings.Repeat("}", levels+1)
}

// FuzzScan compares the scanner's verdict and what it finds with encoding/json's.
func FuzzScan(f *testing.F) {
	addRequests(f, func(body []byte) { f.Add(body) })
	f.Add([]byte(nested("[]", maxDepth+1)))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := scanObject(body, nil, nil)
		got, want := err == nil, isObjectButForStrings(body)
		if got != want {
			t.Fatalf("got %t (%v), want %t", got, err, want)
		}
		if err := checkObject(body); (err == nil) != want {
			t.Fatalf("checkObject: got %v, want %t", err, want)
		}
		if got && json.Valid(body) {
			checkMembers(t, body)
		}
	})
}

var aString = regexp.MustCompile(`(?s)"(?:[^"\\]|\\.)*"`)

// isObjectButForStrings is the documented verdict: it is that of encoding/json if all strings were valid, and if values
// are not nested too deeply.
func isObjectButForStrings(body []byte) bool {
	// (?s) lets the dot match a line break, but a regular expression matches runes; a byte that is none would not match.
	plain := aString.ReplaceAll(bytes.ToValidUTF8(body, []byte("?")), []byte(`""`))
	depth, deepest := 0, 0
	for _, c := range plain {
		switch c {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return json.Valid(plain) && bytes.HasPrefix(bytes.TrimLeft(plain, " \t\r\n"), []byte("{")) && deepest <= maxDepth+1
}

// member is a member of an object as encoding/json sees it.
type member struct {
	name string
	raw  string
}

// decodeMembers returns the members of a valid object, in order and with repetitions.
func decodeMembers(t *testing.T, body []byte) []member {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		t.Fatalf("%q is no object: %v", body, err)
	}
	var members []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		members = append(members, member{name.(string), string(raw)})
	}
	return members
}

// checkMembers compares the scanner's members with encoding/json's.
func checkMembers(t *testing.T, body []byte) {
	t.Helper()
	got, err := scanObject(body, nil, nil)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	want := decodeMembers(t, body)
	if len(got) != len(want) {
		t.Fatalf("%q: got %d members, want %d", body, len(got), len(want))
	}
	r := llmgateway.Request{Body: llmgateway.NewBody(body)}
	for i, m := range got {
		if string(r.Raw(m)) != want[i].raw {
			t.Errorf("%q: member %d: got %q, want %q", body, i, r.Raw(m), want[i].raw)
		}
		// Names are compared by the bytes that came; encoding/json replaces what is not UTF-8.
		if utf8.Valid(body) && m.Name != want[i].name {
			t.Errorf("%q: member %d: got name %q, want %q", body, i, m.Name, want[i].name)
		}
		if body[m.Start] != '"' || i > 0 && m.Start < got[i-1].End || m.Value < m.Start || m.End <= m.Value {
			t.Errorf("%q: member %d lies at %d, %d, %d", body, i, m.Start, m.Value, m.End)
		}
	}
}

// requestFixtures returns the requests in testdata by name.
func requestFixtures(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/requests/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	fixtures := make(map[string][]byte)
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fixtures[strings.TrimSuffix(filepath.Base(path), ".json")] = body
	}
	return fixtures
}

// addRequests gives a fuzz test bodies to begin with: real ones and all kinds of odd ones.
func addRequests(f *testing.F, add func(body []byte)) {
	f.Helper()
	for _, body := range requestFixtures(f) {
		add(body)
	}
	for _, body := range oddRequests {
		add([]byte(body))
	}
}

var oddRequests = []string{
	``, `{}`, `[]`, `null`, `{"model":"m"}`, `{"model":"m"} x`, `{"model":"m",}`, `{"model":null}`, `{"model":7}`,
	`{"mod\u0065l":"m"}`, `{"model":"\u006d"}`, `{"model":"a\\b"}`, `{"model":"\ud83d\udc27"}`, `{"model":"\ud83d"}`,
	`{"model":"a","model":"b"}`, `{"model":"a","model":null}`, `{"model":1,"model":"b"}`,
	`{"model":"m","provider":"p"}`, `{"provider":"p","model":"m"}`, `{"a":1,"provider":"p","model":"m"}`,
	`{"provider":"p","provider":"q","model":"m","provider":"r"}`, `{"provider":{"order":["a"]},"model":"m"}`,
	`{"provider":{},"provider":"p","model":"m"}`, `{"model":"m","provider":null}`, `{"model":"m","provider":[]}`,
	`{"model":"m","stream":true}`, `{"model":"m","stream":false,"stream":true}`, `{"model":"m","stream":null,"stream_options":null}`,
	`{"stream_options":{"include_usage":false},"model":"m"}`, `{"model":"m","stream":"yes"}`,
	"{\"model\":\"m\",\"a\":\"\x00\x01\xff\"}", "{\"model\":\"m\xff\"}", "{\"\xff\":1,\"model\":\"m\"}",
	`{"model":"m","n":[1e400,-0,12345678901234567890,1E+2]}`,
	"\t{\r\n\"model\" : \"m\"\r\n,\r\n\"x\":[ ]\r\n}\r\n",
	`{"model":"m","a":[[[[{"b":[{}]}]]]]}`, `{"model":"m","a":"\\\"\\\\"}`, `{"model":"m","a":"\`, `{"model":"m","a":tru}`,
}
