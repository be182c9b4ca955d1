package cache

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// White space and the order of members are not in the key, and the value of every member that changes the answer is.
func FuzzKey(f *testing.F) {
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":"hi \" \\"}],"temperature":0}`))
	f.Add([]byte("{ \"model\": \"m\", \"messages\": [ ], \"tools\" : [ ] ,\n\t\"a\":\"b\" , \"a\" : \"c\" }"))
	f.Add([]byte(`{"model":"m","messages":[1,2,{"x":"\u0000 "}],"":[[]]}`))
	scope := Scope{Tenant: "t", Provider: "p", Model: "m"}
	f.Fuzz(func(t *testing.T, body []byte) {
		keyOf := func(body []byte) (Key, *llmgateway.Request) {
			req, err := openai.Read(llmgateway.Chat, llmgateway.NewBody(body))
			if err != nil {
				t.Skip()
			}
			return ownKeys().Of(scope, req), req
		}
		key, req := keyOf(body)
		same := func(what string, body []byte) {
			if other, _ := keyOf(body); other != key {
				t.Errorf("%s changes the key: %s", what, body)
			}
		}
		var compact, indented bytes.Buffer
		if json.Compact(&compact, body) != nil || json.Indent(&indented, body, " ", "\t") != nil {
			t.Skip() // encoding/json takes less
		}
		same("less white space", compact.Bytes())
		same("more white space", indented.Bytes())

		var reversed [][]byte
		seen := make(map[string]bool)
		for _, m := range slices.Backward(req.Members) {
			if seen[m.Name] {
				continue // the last one counts
			}
			seen[m.Name] = true
			reversed = append(reversed, body[m.Start:m.End])
			const another = `["another value"]`
			if !decides(req, m) || m.Name == "provider" || string(req.Raw(m)) == another {
				continue
			}
			if other, _ := keyOf(slices.Concat(body[:m.Value], []byte(another), body[m.End:])); other == key {
				t.Errorf("the value of %q is not in the key of %s", m.Name, body)
			}
		}
		same("another order", slices.Concat([]byte("{"), bytes.Join(reversed, []byte(",")), []byte("}")))
		for _, other := range []Scope{{Tenant: "t", Provider: "p", Model: "n"}, {Tenant: "t", Provider: "pm"}, {Tenant: "tp", Model: "m"}} {
			if ownKeys().Of(other, req) == key {
				t.Errorf("the key of %s is the same for %+v", body, other)
			}
		}
	})
}
