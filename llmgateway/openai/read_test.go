package openai

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestReadFindsWhatTheGatewayLooksAt(t *testing.T) {
	tests := []struct {
		body     string
		model    string
		provider string
		stream   bool
	}{
		{`{"model":"m"}`, "m", "", false},
		{`{"model":"m","stream":true,"provider":"p"}`, "m", "p", true},
		{`{"model":"m","stream":false,"provider":""}`, "m", "", false},
		{`{"model":"m","stream":null,"provider":null}`, "m", "", false},
		{`{"mod\u0065l":"m","str\u0065am":true,"\u0070rovider":"p"}`, "m", "p", true},
		{`{"model":"a\/b\u00e8\ud83d\udc27"}`, "a/bè🐧", "", false},
		{`{"model":"vendor/model:free"}`, "vendor/model:free", "", false},
		{`{"model":"first","model":"last","stream":true,"stream":false,"provider":"a","provider":"b"}`, "last", "b", false},
		{`{"model":7,"model":"last","stream":"x","stream":true}`, "last", "", true},
		// OpenRouter's routing preferences are for OpenRouter.
		{`{"model":"m","provider":{"order":["a","b"]}}`, "m", "", false},
		{`{"model":"m","provider":"p","provider":{}}`, "m", "", false},
		{`{"model":"m","provider":{},"provider":"p"}`, "m", "p", false},
		// Members are known by their exact name only, and only at the top.
		{`{"Model":"x","MODEL":"y","model":"m","Stream":true,"a":{"model":"z","stream":true}}`, "m", "", false},
		{`{"messages":[{"model":"x"}],"a":"\"model\":\"y\"","model":"m"}`, "m", "", false},
	}
	for _, test := range tests {
		t.Run(test.body, func(t *testing.T) {
			r, err := Read(llmgateway.Chat, llmgateway.NewBody([]byte(test.body)))
			if err != nil {
				t.Fatal(err)
			}
			if r.Model != test.model || r.Provider != test.provider || r.Stream != test.stream || r.ClientStream != test.stream {
				t.Errorf("got %q, %q, %t, %t; want %q, %q, %t", r.Model, r.Provider, r.Stream, r.ClientStream, test.model, test.provider, test.stream)
			}
		})
	}
}

func TestReadNamesTheMemberThatIsWrong(t *testing.T) {
	tests := []struct {
		body    string
		param   string
		message string
	}{
		{``, "", "is empty"},
		{`[]`, "", "not valid JSON at byte 0: expected a JSON object"},
		{`{"model":"m"`, "", "not valid JSON at byte 12: expected ',' or '}'"},
		{`{}`, "model", `"model" is missing`},
		{`{"model":""}`, "model", `"model" is missing`},
		{`{"model":null}`, "model", `"model" is missing`},
		{`{"model":"m","model":null}`, "model", `"model" is missing`},
		{`{"model":7}`, "model", "must be a string"},
		{`{"model":["m"]}`, "model", "must be a string"},
		{`{"model":"\x"}`, "model", "must be a string"},
		{`{"model":"m","stream":"true"}`, "stream", "must be true or false"},
		{`{"model":"m","stream":1}`, "stream", "must be true or false"},
		{`{"model":"m","provider":7}`, "provider", "must be a string"},
		{`{"model":"m","provider":["p"]}`, "provider", "must be a string"},
	}
	for _, test := range tests {
		t.Run(test.body, func(t *testing.T) {
			_, err := Read(llmgateway.Chat, llmgateway.NewBody([]byte(test.body)))
			if err == nil {
				t.Fatal("got no error")
			}
			e := llmgateway.AsError(err)
			if e.Kind != llmgateway.InvalidRequest || e.Param != test.param || !strings.Contains(e.Message, test.message) {
				t.Errorf("got %s, param %q, %q; want %q, %q", e.Kind, e.Param, e.Message, test.param, test.message)
			}
			if Status(e) != 400 {
				t.Errorf("got status %d, want 400", Status(e))
			}
		})
	}
}

func TestReadTakesEmbeddingsAsNeverStreamed(t *testing.T) {
	body := `{"model":"m","input":"x","stream":true}`
	r, err := Read(llmgateway.Embeddings, llmgateway.NewBody([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Stream || r.ClientStream {
		t.Error("got a stream")
	}
	if got := spliced(r); got != body {
		t.Errorf("got %s, want %s", got, body)
	}
}

// FuzzRead compares what Read makes of a body with what encoding/json finds in it.
func FuzzRead(f *testing.F) {
	addRequests(f, func(body []byte) { f.Add(body) })
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Read(llmgateway.Chat, llmgateway.NewBody(slices.Clone(body)))
		if err != nil {
			e := llmgateway.AsError(err)
			if r != nil || e.Kind != llmgateway.InvalidRequest || !json.Valid(ErrorBody(e)) {
				t.Fatalf("got %v and %+v", r, e)
			}
		}
		if !json.Valid(body) || !utf8.Valid(body) || !isObjectButForStrings(body) {
			return
		}
		last := make(map[string]string)
		for _, m := range decodeMembers(t, body) {
			last[m.name] = m.raw
		}
		model, ok := decodeString(last["model"])
		provider, providerOK := decodeString(last["provider"])
		providerOK = providerOK || strings.HasPrefix(last["provider"], "{")
		streamOK := slices.Contains([]string{"", "null", "true", "false"}, last["stream"])
		if want := ok && model != "" && providerOK && streamOK; want != (err == nil) {
			t.Fatalf("got %v, want success: %t", err, want)
		}
		if err != nil {
			return
		}
		if r.Model != model || r.Provider != provider || r.Stream != (last["stream"] == "true") {
			t.Errorf("got %q, %q, %t from %s", r.Model, r.Provider, r.Stream, body)
		}
	})
}

// decodeString returns what a string member says; a missing one and null say nothing.
func decodeString(raw string) (s string, ok bool) {
	if raw == "" || raw == "null" {
		return "", true
	}
	return s, json.Unmarshal([]byte(raw), &s) == nil
}
