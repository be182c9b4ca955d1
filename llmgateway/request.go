package llmgateway

import (
	"slices"
	"time"
)

// Operation is what a request asks for, named as in OpenTelemetry's `gen_ai.operation.name`.
type Operation string

const (
	// Chat is POST /v1/chat/completions.
	Chat Operation = "chat"
	// Completion is POST /v1/completions.
	Completion Operation = "text_completion"
	// Embeddings is POST /v1/embeddings.
	Embeddings Operation = "embeddings"
	// Messages is Anthropic's POST /v1/messages.
	Messages Operation = "messages"
	// Responses is POST /v1/responses.
	Responses Operation = "responses"
)

// Foreign reports whether the operation belongs to another API than chat's, so that its bodies are in other words.
func (op Operation) Foreign() bool { return op == Messages || op == Responses }

// Request is one request in OpenAI's wire format: the client's own bytes, and what one scan over them found.
//
// It is read-only once made. Whoever needs another model or another mode copies the struct and changes the copy; the
// bytes are shared, and the difference is spliced in on the way out.
type Request struct {
	Operation Operation

	// Body is the JSON object as the client sent it.
	Body *Body
	// Members tells where each top-level member of Body lies, in order of appearance. Names may repeat.
	Members []Member

	// Model is the model to ask for. Right after reading it is what the client wrote.
	Model string
	// Provider is the provider named by the client in the body's string member "provider", or empty. An object there
	// is OpenRouter's own routing preference, which is not for us.
	Provider string
	// Stream is true if the answer is to be produced event by event.
	Stream bool
	// ClientStream is true if the client asked for a stream. Stream may be true without it, for a deadline on the first
	// token; then whoever set it merges the events.
	ClientStream bool
	// ClientUsage is true if the client asked for a stream's usage. Providers are asked for it in any case.
	ClientUsage bool
	// UsageComes is set by providers that tell a stream's usage without being asked, as llama.cpp does in its timings. Asking
	// would move those to where clients do not expect them.
	UsageComes bool

	// Edits are members to send otherwise than the client wrote them. Members that the client did not write are not added.
	Edits []Edit
	// Additions are members to send if the client wrote none of their name.
	Additions []Edit

	// Native is what the client has sent, if this request is a translation of it into chat's words, and nil otherwise. A target
	// that speaks its API is sent it as it is.
	Native *Request
	// Untranslated is what chat cannot say of Native, or nil. Only targets that speak its API can take such a request.
	Untranslated *Error
	// LeftOut are abilities that Native offers and that the translation does not, such as a provider's own web search.
	LeftOut []string
	// Forward are header fields that go with a request to whoever speaks its API, such as the API's version.
	Forward map[string][]string

	// Header holds those of the client's header fields that rules look at, by their canonical names. It may be nil.
	Header map[string][]string

	// Tenant is who asks, as far as that is known. Tenants do not share cached answers.
	Tenant string
	// Allowed are the models that the client may ask for, by any of their names; names may end in *. None means all.
	Allowed []string
	// Cache is what the client wants of the cache.
	Cache CacheControl

	// Exchange changes the request and its answers for the client that sent it, or is nil.
	Exchange Exchange
}

// Edit is what becomes of a top-level member on the way to a provider.
type Edit struct {
	Name string
	// Value is JSON that takes the value's place. If it is empty, and Append too, the member is left out.
	Value string
	// Append is JSON that follows the last element of the value, a list with something in it.
	Append string
}

// CacheControl is what a client may ask of the cache, in the words of RFC 9111, section 5.2.1.
type CacheControl struct {
	// NoCache asks for a new answer, NoStore that the answer is not kept.
	NoCache, NoStore bool
	// MaxAge is how old an answer may be; 0 means any age.
	MaxAge time.Duration
}

// Member is the place of one top-level member in a body.
type Member struct {
	// Name is the decoded name.
	Name string
	// Start is the offset of the name's opening quote.
	Start int
	// Value is the offset of the value's first byte, End the offset after its last.
	Value, End int
}

// Lookup returns the last member with the given name, as JSON parsers do when a name repeats.
func (r *Request) Lookup(name string) (m Member, ok bool) {
	for _, m := range slices.Backward(r.Members) {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// Raw returns the bytes of m's value.
func (r *Request) Raw(m Member) []byte {
	return r.Body.Bytes[m.Value:m.End]
}
