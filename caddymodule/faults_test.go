package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tidwall/gjson"
)

// A fault is what the first of two providers does. The second is well unless the fault says otherwise.
type fault struct {
	name string
	// first and second play a provider. call counts the requests from 1.
	first, second play
	// members are further members of the request.
	members []string
	// options are further words of the model.
	options string
	// again is how long after an answer the same is asked once more; 0: it is not.
	again time.Duration
	// streamed is what a client of a stream must get, plain one that does not stream.
	streamed, plain want
	// asked is how often the first must have been asked; 0: once.
	asked int
	// hangs is true if nothing but a deadline ends the first.
	hangs bool
	// never must not come to the client.
	never string
}

type play func(w http.ResponseWriter, r *http.Request, call int)

// want is an outcome: all counted words of an answer, or those up to the last that came and an error.
type want struct {
	by     string // whose words: of the provider first or second, or nobody's
	words  int
	status int    // 200 unless set
	error  string // a part of the message
}

var (
	bySecond = want{by: "second", words: allWords}
	byFirst  = want{by: "first", words: allWords}
)

// allWords is how many words a whole answer has: first1 first2 ... or second1 second2 ...
const allWords = 60

// faultPatience is what first_token_timeout and stream_idle_timeout are set to.
const faultPatience = 300 * time.Millisecond

// count sends words of a stream.
func count(w http.ResponseWriter, by string, from, to int) {
	for i := from; i <= to; i++ {
		say(w, fmt.Sprint(by, i, " "))
	}
}

// wordsOf returns the text of words.
func wordsOf(by string, from, to int) string {
	var text strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprint(&text, by, i, " ")
	}
	return text.String()
}

// wholeAnswer sends an answer in one piece.
func wholeAnswer(w http.ResponseWriter, by string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"id":"x","object":"chat.completion","model":"%s-model","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],%s}`,
		by, wordsOf(by, 1, allWords), usageOf(by))
}

// usageOf is a member usage that tells the providers apart.
func usageOf(by string) string {
	return fmt.Sprintf(`"usage":{"prompt_tokens":%d,"completion_tokens":60,"total_tokens":%d}`, len(by), len(by)+60)
}

// well answers as a provider should.
func well(by string) play {
	return func(w http.ResponseWriter, r *http.Request, _ int) {
		if !wantsStream(r) {
			wholeAnswer(w, by)
			return
		}
		sayRole(w)
		count(w, by, 1, allWords)
		sendEnd(w, by)
		sendData(w, "[DONE]")
	}
}

// sendEnd sends a finish reason and a usage.
func sendEnd(w http.ResponseWriter, by string) {
	sendDelta(w, "{}", `"stop"`)
	sendData(w, fmt.Sprintf(`{"id":"x","model":"%s-model","choices":[],%s}`, by, usageOf(by)))
}

// way is how a client asks. A target with a first-token deadline is asked for a stream even if the client asks for none.
type way struct {
	name             string
	stream, deadline bool
}

var ways = []way{{"streamed", true, true}, {"merged", false, true}, {"whole", false, false}}

// Whatever the first of two providers does, the client gets one answer, no word of it lost or doubled, or an error that
// says so, and in time.
func TestEveryFaultOfTheFirstTarget(t *testing.T) {
	faults := allFaults()
	var site strings.Builder
	calls := make([]atomic.Int64, len(faults)*len(ways))
	for i, f := range faults {
		for j, way := range ways {
			at := i*len(ways) + j
			options := f.options
			if way.deadline {
				options += fmt.Sprintf("\nto first%d/first-model second%d/second-model {\nfirst_token_timeout %s\n}", at, at, faultPatience)
			} else {
				options += fmt.Sprintf("\nto first%d/first-model second%d/second-model", at, at)
			}
			second := f.second
			if second == nil {
				second = well("second")
			}
			fmt.Fprintf(&site, "provider first%d openai %s\nprovider second%d openai %s\nmodel m%d {\n%s\n}\n",
				at, playing(t, f.first, &calls[at]), at, playing(t, second, new(atomic.Int64)), at, options)
		}
	}
	g := newGateway(t)
	g.start(fmt.Sprintf("llm {\nstream_idle_timeout %s\n%s}", faultPatience, &site))
	client := g.client("HTTP/1.1")
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for i, f := range faults {
		for j, way := range ways {
			if f.hangs && !way.deadline {
				continue // without a deadline it is waited for
			}
			at := i*len(ways) + j
			t.Run(f.name+" "+way.name, func(t *testing.T) {
				began := time.Now()
				usage := fmt.Sprintf(`"stream_options":{"include_usage":%t}`, way.stream)
				got := g.bear(t, client, chat(fmt.Sprint("m", at), "hello", way.stream, append(f.members, usage)...), way.stream)
				took := time.Since(began)
				wanted := f.plain
				if way.stream {
					wanted = f.streamed
				}
				got.check(t, at, wanted, f)
				if took > 5*time.Second {
					t.Errorf("took %v", took)
				}
				if asked := int(calls[at].Load()); asked != max(f.asked, 1) {
					t.Errorf("the first was asked %d times, want %d", asked, max(f.asked, 1))
				}
				_, _ = fmt.Fprintf(rows, "%s\t%s\t%d\t%s\t%d words\t%s\t%v\n", f.name, way.name, got.status, strings.TrimRight(got.by, "0123456789"), got.words, got.error, took.Round(time.Millisecond))
				if f.again > 0 {
					time.Sleep(f.again)
					again := g.bear(t, client, chat(fmt.Sprint("m", at), "hello", way.stream, `"stream_options":{"include_usage":true}`), way.stream)
					again.check(t, at, byFirst, f)
				}
			})
		}
	}
	_ = rows.Flush()
	t.Log("\n" + table.String())
}

// playing starts a provider.
func playing(t *testing.T, p play, calls *atomic.Int64) string {
	return upstream(t, func(w http.ResponseWriter, r *http.Request) { p(w, r, int(calls.Add(1))) })
}

// borne is what a client got.
type borne struct {
	want
	text   string
	model  string // what the answer says of its model
	prompt int64  // and of the prompt's tokens
	header http.Header
	all    string // every byte
}

// bear asks and reads whatever comes.
func (g *gateway) bear(t *testing.T, client *http.Client, body string, streamed bool) borne {
	t.Helper()
	a, err := g.ask(t.Context(), client, body)
	if err != nil {
		t.Fatalf("the connection broke: %v, after %s", err, a.body)
	}
	b := borne{header: a.header, all: a.body}
	b.status, b.error = a.status, a.message()
	if a.status != http.StatusOK || !streamed {
		b.by = a.header.Get("X-LLM-Provider")
		b.text, b.model, b.prompt = a.text(), gjson.Get(a.body, "model").Str, gjson.Get(a.body, "usage.prompt_tokens").Int()
		b.words = len(strings.Fields(b.text))
		return b
	}
	ended := false
	for line := range strings.Lines(a.body) {
		// What is known only after a ping has sent the header comes as a comment: on a slow machine, any of it.
		if fact, ok := strings.CutPrefix(strings.TrimSpace(line), ": X-"); ok && b.text == "" {
			name, value, _ := strings.Cut(fact, ": ")
			b.header.Set("X-"+name, value)
		}
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		switch {
		case !ok:
		case ended:
			t.Errorf("after the end came %s", data)
		case data == "[DONE]":
			ended = true
		case !gjson.Valid(data):
			t.Errorf("a chunk is not valid JSON: %s", data)
		case gjson.Get(data, "error").Exists():
			b.error, ended = gjson.Get(data, "error.message").Str, true
		default:
			b.text += gjson.Get(data, "choices.0.delta.content").Str
			if usage := gjson.Get(data, "usage"); usage.Exists() {
				b.model, b.prompt = gjson.Get(data, "model").Str, usage.Get("prompt_tokens").Int()
			}
		}
	}
	if !ended {
		t.Errorf("neither an end marker nor an error came: %s", a.body)
	}
	b.words, b.by = len(strings.Fields(b.text)), b.header.Get("X-LLM-Provider")
	return b
}

func (b borne) check(t *testing.T, at int, wanted want, f fault) {
	t.Helper()
	if text := wordsOf(wanted.by, 1, wanted.words); b.text != text {
		t.Errorf("got the text %q, want %q", b.text, text)
	}
	if status := max(wanted.status, http.StatusOK); b.status != status {
		t.Errorf("got the status %d, want %d", b.status, status)
	}
	if (wanted.error == "") != (b.error == "") || !strings.Contains(b.error, wanted.error) {
		t.Errorf("got the error %q, want %q", b.error, wanted.error)
	}
	if f.never != "" && strings.Contains(b.all, f.never) {
		t.Errorf("%q was passed on: %s", f.never, b.all)
	}
	if wanted.by == "" {
		return
	}
	if provider := fmt.Sprint(wanted.by, at); b.by != provider || b.header.Get("X-LLM-Model") != wanted.by+"-model" {
		t.Errorf("the header names %s and %s, want %s", b.by, b.header.Get("X-LLM-Model"), provider)
	}
	if wanted.error == "" && (b.model != wanted.by+"-model" || b.prompt != int64(len(wanted.by))) {
		t.Errorf("the answer names %s and %d tokens of the prompt", b.model, b.prompt)
	}
}

// S15: a provider that fails for a while. Everybody is served meanwhile, and it is not asked in vain more than a few times.
func TestProviderThatFlapsIsLeftAloneAndComesBack(t *testing.T) {
	var down atomic.Bool
	var inVain atomic.Int64
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			inVain.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		well("first")(w, r, 1)
	})
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		fail_duration 400ms
		provider first openai %s
		provider second openai %s
		model m {
			to first second
		}
	}`, url, playing(t, well("second"), new(atomic.Int64))))
	client := g.client("HTTP/1.1")
	var by []string
	var failing time.Time
	for i := range 12 {
		if i == 3 {
			down.Store(true)
			failing = time.Now()
		}
		got := g.bear(t, client, chat("m", "hello", i%2 == 0), i%2 == 0)
		if got.text != wordsOf(got.by, 1, allWords) || got.error != "" {
			t.Errorf("request %d: got %q, %s", i, got.text, got.error)
		}
		by = append(by, got.by)
		time.Sleep(80 * time.Millisecond)
	}
	took := time.Since(failing)
	t.Logf("%v; asked in vain %d times in %v", by, inVain.Load(), took)
	if n := inVain.Load(); n > 3+int64(took/(400*time.Millisecond)) {
		t.Errorf("it was asked in vain %d times in %v", n, took)
	}
	if by[0] != "first" || by[11] != "second" {
		t.Errorf("answered by %v", by)
	}
	down.Store(false)
	await(t, "the first again", func() bool { return g.bear(t, client, chat("m", "hello", false), false).by == "first" })
}
