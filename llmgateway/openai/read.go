package openai

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Read makes a Request of a body, whose reference it takes over. One scan finds everything the gateway looks at.
//
// A body that is not a JSON object, or in which a member that the gateway reads has the wrong type, is an
// [llmgateway.InvalidRequest] error that says which.
func Read(op llmgateway.Operation, body *llmgateway.Body) (*llmgateway.Request, error) {
	r := &request{}
	r.Operation = op
	r.Body = body
	body.Long = nil
	members, err := scanObject(body.Bytes, r.members[:0], &body.Long)
	if err != nil {
		return nil, notObject(body.Bytes, err)
	}
	r.Members = members
	if r.Model, err = r.str("model"); err != nil {
		return nil, err
	}
	if !utf8.ValidString(r.Model) {
		return nil, invalid("model", `the member "model" is not valid UTF-8`)
	}
	if r.Model == "" {
		return nil, invalid("model", `the member "model" is missing: name the model you want`)
	}
	if m, ok := r.Lookup("provider"); ok && body.Bytes[m.Value] != '{' {
		if r.Provider, err = r.str("provider"); err != nil {
			return nil, err
		}
	}
	if r.Stream, err = r.boolean("stream"); err != nil {
		return nil, err
	}
	if op == llmgateway.Embeddings {
		r.Stream = false
	}
	r.ClientStream = r.Stream
	if m, ok := r.Lookup("stream_options"); ok && r.Stream {
		r.ClientUsage = gjson.GetBytes(r.Raw(m), "include_usage").Bool()
	}
	return &r.Request, nil
}

// request holds the members of an ordinary request in the same allocation.
type request struct {
	llmgateway.Request
	members [12]llmgateway.Member
}

// str returns a string member. A missing one and null are the empty string.
func (r *request) str(name string) (string, error) {
	m, ok := r.Lookup(name)
	if !ok {
		return "", nil
	}
	raw := r.Raw(m)
	switch raw[0] {
	case 'n':
		return "", nil
	case '"':
		if bytes.IndexByte(raw, '\\') < 0 {
			return string(raw[1 : len(raw)-1]), nil
		}
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s, nil
		}
	}
	return "", invalid(name, `the member "`+name+`" must be a string`)
}

// boolean returns a boolean member. A missing one and null are false.
func (r *request) boolean(name string) (bool, error) {
	m, ok := r.Lookup(name)
	if !ok {
		return false, nil
	}
	switch r.Raw(m)[0] {
	case 't':
		return true, nil
	case 'f', 'n':
		return false, nil
	}
	return false, invalid(name, `the member "`+name+`" must be true or false`)
}

func invalid(param, message string) error {
	return &llmgateway.Error{Kind: llmgateway.InvalidRequest, Message: message, Param: param}
}
