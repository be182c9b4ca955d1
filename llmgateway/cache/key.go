package cache

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Key stands for everything that decides an answer. It is the same in every gateway.
type Key [32]byte

// Scope is what an answer depends on beside the request's own words.
type Scope struct {
	// Tenant is whose request it is. Tenants never see each other's answers.
	Tenant string
	// Provider tells the provider from all others. Two that give different answers have different identities.
	Provider string
	// Model is what the provider is asked for.
	Model string
}

// keyVersion changes whenever equal keys would mean something else.
const keyVersion = "llmgateway answer 1"

// without are the members that do not change the answer: what names the model, which is in the scope, how the answer is
// sent, and what is for the provider's books (https://platform.openai.com/docs/api-reference/chat/create).
var without = []string{
	"metadata", "model", "prompt_cache_key", "prompt_cache_retention", "provider", "safety_identifier", "service_tier", "store",
	"stream", "stream_options", "user",
}

// KeyOf returns the key of a request. Requests that differ only in the order of their members and in white space, or in
// members that do not change the answer, have the same.
//
// It reads the body once, at the speed of the hash: megabytes of images cost less than a millisecond each.
func KeyOf(s Scope, req *llmgateway.Request) Key {
	h := blake3.New()
	for _, text := range []string{keyVersion, string(req.Operation), s.Tenant, s.Provider, s.Model} {
		field(h, text)
	}
	if req.Operation.Foreign() && req.Stream { // what came as a stream is not made whole, nor the other way round
		field(h, "stream")
	}
	members := make([]llmgateway.Member, 0, 16)
	for i, m := range req.Members {
		// Of members that repeat the last one counts.
		later := slices.ContainsFunc(req.Members[i+1:], func(other llmgateway.Member) bool { return other.Name == m.Name })
		if _, ignored := slices.BinarySearch(without, m.Name); !ignored && !later {
			members = append(members, m)
		}
	}
	slices.SortFunc(members, func(a, b llmgateway.Member) int { return cmp.Compare(a.Name, b.Name) })
	for _, m := range members {
		field(h, m.Name)
		compact(h, req.Raw(m))
		_, _ = h.Write([]byte{0}) // no JSON value holds it
	}
	var key Key
	h.Sum(key[:0])
	return key
}

// field writes a text that may hold anything.
func field(h *blake3.Hasher, text string) {
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(text)))
	_, _ = h.Write(size[:])
	_, _ = h.WriteString(text)
}

// compact writes valid JSON without white space between its tokens. What is between two of them goes through a buffer,
// because a hash of many short pieces is slow; long strings are hashed where they are.
func compact(h *blake3.Hasher, d []byte) {
	var buffer [1 << 10]byte
	pending := buffer[:0]
	write := func(piece []byte) {
		if len(pending)+len(piece) > cap(pending) {
			_, _ = h.Write(pending)
			pending = pending[:0]
		}
		if len(piece) > cap(pending) {
			_, _ = h.Write(piece)
			return
		}
		pending = append(pending, piece...)
	}
	for len(d) > 0 {
		switch d[0] {
		case ' ', '\t', '\r', '\n':
			d = d[1:]
		case '"':
			end := 1 + endOfString(d[1:])
			write(d[:end])
			d = d[end:]
		default:
			end := bytes.IndexAny(d, "\" \t\r\n")
			if end < 0 {
				end = len(d)
			}
			write(d[:end])
			d = d[end:]
		}
	}
	_, _ = h.Write(pending)
}

// endOfString returns the offset after the quote that ends the string whose text d begins with, or the length of d.
func endOfString(d []byte) int {
	for from := 0; ; {
		n := bytes.IndexByte(d[from:], '"')
		if n < 0 {
			return len(d)
		}
		quote := from + n
		escapes := 0
		for k := quote - 1; k >= 0 && d[k] == '\\'; k-- {
			escapes++
		}
		if escapes%2 == 0 {
			return quote + 1
		}
		from = quote + 1
	}
}
