package openai

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// splice returns the body to send for r as segments, in order, and their total size. All but a few small segments are
// slices of the client's own bytes.
//
// It changes what must change and nothing else: the model, if r asks for another one than the client did; the mode, if
// r.Stream differs from what the client asked for; a stream's options, so that it ends with its usage; what r.Edits and
// r.Additions name; and the string member "provider", which was for us. A member that is repeated is changed everywhere, so
// that it does not matter which one a server believes.
func splice(r *llmgateway.Request) (segments [][]byte, size int) {
	s := splicer{body: r.Body.Bytes, segments: make([][]byte, 0, 8)}
	extra := extraMembers(r)
	last := lastIndex(r.Members, "model")
	kept := false
	for i, m := range r.Members {
		if at := slices.IndexFunc(r.Edits, func(e llmgateway.Edit) bool { return e.Name == m.Name }); at >= 0 {
			switch e := r.Edits[at]; {
			case e.Append != "":
				s.replace(m.End-1, m.End-1, []byte(","+e.Append))
			case e.Value != "":
				s.replace(m.Value, m.End, []byte(e.Value))
			default:
				s.remove(r.Members, i, kept)
				continue
			}
		}
		switch m.Name {
		case "model":
			if !isString(r.Raw(m), r.Model) {
				s.replace(m.Value, m.End, quote(r.Model))
			}
			if i == last && extra != "" {
				s.replace(m.End, m.End, []byte(extra))
			}
		case "stream":
			if r.Stream != r.ClientStream {
				s.replace(m.Value, m.End, strconvBool(r.Stream))
			}
		case "stream_options":
			// Without a stream they mean nothing.
			if asksUsage(r) {
				s.addUsage(m)
			}
		case "provider":
			if s.body[m.Value] == '{' {
				break
			}
			s.remove(r.Members, i, kept)
			continue
		}
		kept = true
	}
	return s.finish()
}

const includeUsage = `{"include_usage":true}`

// extraMembers returns what is put behind the model: members that must be there and are not.
func extraMembers(r *llmgateway.Request) string {
	var extra strings.Builder
	if r.Stream != r.ClientStream && lastIndex(r.Members, "stream") < 0 {
		extra.WriteString(`,"stream":` + string(strconvBool(r.Stream)))
	}
	if asksUsage(r) && lastIndex(r.Members, "stream_options") < 0 {
		extra.WriteString(`,"stream_options":` + includeUsage)
	}
	for _, e := range r.Additions {
		if lastIndex(r.Members, e.Name) < 0 {
			extra.WriteString("," + string(quote(e.Name)) + ":" + e.Value)
		}
	}
	return extra.String()
}

// asksUsage reports whether a provider is to be asked for a stream's usage although the client did not.
func asksUsage(r *llmgateway.Request) bool {
	return r.Stream && !r.Operation.Foreign() && !r.ClientUsage && (!r.UsageComes || !r.ClientStream)
}

func lastIndex(members []llmgateway.Member, name string) int {
	for i, m := range slices.Backward(members) {
		if m.Name == name {
			return i
		}
	}
	return -1
}

// splicer collects segments from front to back.
type splicer struct {
	body     []byte
	at       int
	segments [][]byte
}

func (s *splicer) replace(start, end int, text []byte) {
	if start > s.at {
		s.segments = append(s.segments, s.body[s.at:start])
	}
	if len(text) > 0 {
		s.segments = append(s.segments, text)
	}
	s.at = max(s.at, end)
}

// remove leaves out member i. kept says whether any member in front of it stays, which has the comma.
func (s *splicer) remove(members []llmgateway.Member, i int, kept bool) {
	switch m := members[i]; {
	case kept:
		s.replace(members[i-1].End, m.End, nil)
	case i+1 < len(members):
		s.replace(m.Start, members[i+1].Start, nil)
	default:
		s.replace(m.Start, m.End, nil)
	}
}

// addUsage makes a member with a stream's options ask for the usage, and keeps its other options.
func (s *splicer) addUsage(m llmgateway.Member) {
	options := s.body[m.Value:m.End]
	members, err := scanObject(options, nil, nil)
	if err != nil || len(members) == 0 { // null, for one
		s.replace(m.Value, m.End, []byte(includeUsage))
		return
	}
	for _, option := range members {
		if option.Name == "include_usage" {
			s.replace(m.Value+option.Value, m.Value+option.End, strconvBool(true))
		}
	}
	if last := members[len(members)-1]; lastIndex(members, "include_usage") < 0 {
		s.replace(m.Value+last.End, m.Value+last.End, []byte(`,"include_usage":true`))
	}
}

func (s *splicer) finish() (segments [][]byte, size int) {
	s.replace(len(s.body), len(s.body), nil)
	for _, segment := range s.segments {
		size += len(segment)
	}
	return s.segments, size
}

// isString reports whether raw is a JSON string that says s.
func isString(raw []byte, s string) bool {
	if raw[0] != '"' {
		return false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1:len(raw)-1]) == s
	}
	var decoded string
	return json.Unmarshal(raw, &decoded) == nil && decoded == s
}

func quote(s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // no string makes it fail
		panic(err)
	}
	return quoted
}

func strconvBool(b bool) []byte {
	if b {
		return []byte("true")
	}
	return []byte("false")
}
