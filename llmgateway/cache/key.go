package cache

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Key stands for everything that decides an answer. It is the same in every gateway with the same [Keys].
type Key [sha256.Size]byte

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
const keyVersion = "llmgateway answer 2"

// without are the members that do not change the answer: what names the model, which is in the scope, how the answer is
// sent, and what is for the provider's books (https://platform.openai.com/docs/api-reference/chat/create).
var without = []string{
	"metadata", "model", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store",
	"stream", "stream_options", "user",
}

// SecretSize is the size of what Keys are made from, in bytes.
const SecretSize = 32

// Keys makes keys with a secret. Equal secrets make equal keys. Without the secret nobody can make two requests that have one
// key, as long as keys are not shown to those who make requests.
//
// Long texts, above all images, go through GMAC: it is as fast as memory where processors have instructions for it, and the
// chance that two texts of a megabyte meet is 2^-112. Its sums are not made for being seen, so the key is a hash of them.
type Keys struct {
	secret [SecretSize]byte
	mac    cipher.AEAD
}

// NewKeys returns what makes keys with a secret.
func NewKeys(secret [SecretSize]byte) *Keys {
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic(err) // the size is right
	}
	mac, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // so is AES's
	}
	return &Keys{secret, mac}
}

// ownKeys are for answers that nobody outside of this process uses.
var ownKeys = sync.OnceValue(func() *Keys {
	var secret [SecretSize]byte
	_, _ = rand.Read(secret[:]) // never fails
	return NewKeys(secret)
})

// Of returns the key of a request. Requests that differ only in the order of their members and in white space, or in
// members that do not change the answer, have the same.
//
// It reads the body once: a megabyte of images costs about 0.2 milliseconds.
func (k *Keys) Of(s Scope, req *llmgateway.Request) Key {
	t := transcripts.Get().(*transcript)
	defer t.free()
	t.keys, t.text = k, append(t.text[:0], k.secret[:]...)
	for _, text := range []string{keyVersion, string(req.Operation), s.Tenant, s.Provider, s.Model} {
		t.field(text)
	}
	if req.Operation.Foreign() && req.Stream { // what came as a stream is not made whole, nor the other way round
		t.field("stream")
	}
	members := make([]llmgateway.Member, 0, 16)
	for i, m := range req.Members {
		// Of members that repeat the last one counts.
		later := slices.ContainsFunc(req.Members[i+1:], func(other llmgateway.Member) bool { return other.Name == m.Name })
		if !later && decides(req, m) {
			members = append(members, m)
		}
	}
	t.text = append(t.text, byte(len(req.Forward)))
	t.names = slices.AppendSeq(t.names[:0], maps.Keys(req.Forward))
	slices.Sort(t.names)
	for _, name := range t.names {
		t.field(name)
		t.text = append(t.text, byte(len(req.Forward[name])))
		for _, value := range req.Forward[name] {
			t.field(value)
		}
	}
	slices.SortFunc(members, func(a, b llmgateway.Member) int { return cmp.Compare(a.Name, b.Name) })
	for _, m := range members {
		t.field(m.Name)
		t.value(req.Body, m.Value, m.End)
		t.text = append(t.text, 0) // no JSON value holds it
	}
	return sha256.Sum256(t.text)
}

// decides reports whether a member may change the answer.
func decides(req *llmgateway.Request, m llmgateway.Member) bool {
	if m.Name == "provider" {
		// A name is in the scope. An object tells OpenRouter which of its providers may answer
		// (https://openrouter.ai/docs/features/provider-routing).
		return req.Raw(m)[0] == '{'
	}
	_, ignored := slices.BinarySearch(without, m.Name)
	return !ignored
}

// transcript is what of a request goes into its key, with sums in place of long strings.
type transcript struct {
	keys  *Keys
	text  []byte
	names []string // of header fields
	sum   [sumSize]byte
}

const (
	sumSize = 16
	// longString is from when on a string is replaced: below that, hashing it is as cheap.
	longString = 512
)

var transcripts = sync.Pool{New: func() any { return new(transcript) }}

// free makes room for the next request's, unless that would hold much memory.
func (t *transcript) free() {
	if cap(t.text) <= 1<<20 {
		transcripts.Put(t)
	}
}

// nonce is the same for all sums, so that equal strings have equal ones.
var nonce [12]byte

// field writes a text that may hold anything.
func (t *transcript) field(text string) {
	t.text = binary.LittleEndian.AppendUint64(t.text, uint64(len(text)))
	t.text = append(t.text, text...)
}

// value writes the valid JSON between two offsets of a body without white space between its tokens.
func (t *transcript) value(body *llmgateway.Body, from, to int) {
	d := body.Bytes[from:to]
	for len(d) > 0 {
		switch d[0] {
		case ' ', '\t', '\r', '\n':
			d = d[1:]
		case '"':
			start := to - len(d)
			end, known := body.EndOfLong(start)
			if end -= start; !known {
				end = 1 + endOfString(d[1:])
			}
			if end > longString {
				t.text = append(t.text, 1)                                                     // no JSON value begins so
				t.text = append(t.text, t.keys.mac.Seal(t.sum[:0], nonce[:], nil, d[:end])...) //nolint:gosec // G407: it is meant
			} else {
				t.text = append(t.text, d[:end]...)
			}
			d = d[end:]
		default:
			end := bytes.IndexAny(d, "\" \t\r\n")
			if end < 0 {
				end = len(d)
			}
			t.text = append(t.text, d[:end]...)
			d = d[end:]
		}
	}
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
