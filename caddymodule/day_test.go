package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// A day of a gateway's life in minutes: many clients, some of which leave, and providers with every fault. Each answer is about
// the code word of its request, so that one that is another's, or cut, or put together wrongly, is seen.
type day struct {
	g     *gateway
	until time.Time

	mu       sync.Mutex // guards what follows
	outcomes map[string]int
	wrong    []string
}

// dayWords is how many words an answer has.
const dayWords = 30

// dayText is the answer about a code word. by is empty where all providers say the same.
func dayText(by, code string) string {
	var text strings.Builder
	for i := range dayWords {
		fmt.Fprintf(&text, "%s%s-%d ", by, code, i)
	}
	return text.String()
}

// provider answers, or fails in one of the known ways every other time if it is not steady.
func (d *day) provider(t *testing.T, name string, steady bool) string {
	return upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		prompt, model := gjson.GetBytes(body, "messages.0.content").Str, gjson.GetBytes(body, "model").Str
		code := prompt[strings.LastIndexByte(prompt, ' ')+1:]
		a := dayAnswer{w: w, r: r, model: model, stream: gjson.GetBytes(body, "stream").Bool()}
		by := name + ":"
		if model == "same" {
			by = ""
		}
		a.words = strings.SplitAfter(strings.TrimSuffix(dayText(by, code), " "), " ")
		if steady || rand.IntN(2) == 0 {
			a.well()
			return
		}
		faults := a.faults()
		faults[rand.IntN(len(faults))]()
	})
}

// dayAnswer is one answer of a provider.
type dayAnswer struct {
	w      http.ResponseWriter
	r      *http.Request
	model  string
	words  []string
	stream bool
}

func (a *dayAnswer) say(from, to int) {
	for _, word := range a.words[from:to] {
		say(a.w, word)
	}
}

func (a *dayAnswer) end() {
	sendDelta(a.w, "{}", `"stop"`)
	sendData(a.w, fmt.Sprintf(`{"id":"x","model":%q,"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d}}`, a.model, dayWords))
}

func (a *dayAnswer) well() {
	if !a.stream {
		document("application/json", fmt.Sprintf(`{"model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":%d}}`,
			a.model, strings.Join(a.words, ""), dayWords))(a.w, a.r, 1)
		return
	}
	sayRole(a.w)
	a.say(0, dayWords)
	a.end()
	sendData(a.w, "[DONE]")
}

// inPart begins an answer, and ends it in one of two ways.
func (a *dayAnswer) inPart(stream, whole func()) func() {
	return func() {
		if !a.stream {
			whole()
			return
		}
		a.say(0, 1+rand.IntN(dayWords-1))
		stream()
	}
}

func (a *dayAnswer) faults() []func() {
	refuse := func(status int, body string, header ...string) func() {
		return func() { fails(status, body, header...)(a.w, a.r, 1) }
	}
	send := func(contentType, body string) func() { return func() { document(contentType, body)(a.w, a.r, 1) } }
	abort := func() { panic(http.ErrAbortHandler) }
	silence := func() { hang(a.w, a.r) }
	mangled := func() { sendData(a.w, `{"choices":[{"index":0,"delta":{"content":"mang`) }
	return []func(){
		refuse(429, "{}", "Retry-After-Ms", "20"), refuse(429, "{}", "Retry-After-Ms", "300"), refuse(500, "oh"), refuse(503, "no"), refuse(401, "{}"),
		refuse(400, `{"error":{"message":"too long","code":"context_length_exceeded"}}`),
		func() { reset(a.w, a.r) }, silence,
		func() { time.Sleep(300 * time.Millisecond); a.well() },
		send("application/json", `{"error":{"message":"out of memory","code":500}}`), send("text/html", "<html>sign in</html>"),
		send("text/event-stream", ""), send("application/json", ""), send("application/json", `{"choices":[]}`), mangled,
		func() { sayRole(a.w); sendData(a.w, "[DONE]") }, func() { sayRole(a.w); silence() },
		a.inPart(abort, func() { halfAnswer(a.w, a.r, 1) }), a.inPart(silence, silence), a.inPart(mangled, mangled),
		a.inPart(func() {}, abort), // no end
		a.inPart(func() { sendData(a.w, `{"error":{"message":"oh"}}`) }, abort), // an error in the middle
		func() {
			if !a.stream {
				a.well()
				return
			}
			a.say(0, dayWords) // without an end marker
			a.end()
		},
	}
}

// client asks until the day is over.
func (d *day) client(ctx context.Context, client *http.Client, r *rand.Rand) {
	for time.Now().Before(d.until) {
		ctx, cancel := context.WithCancel(ctx)
		leaves := r.IntN(8) == 0
		if leaves {
			time.AfterFunc(time.Duration(r.IntN(200))*time.Millisecond, cancel)
		}
		model := []string{"same", "own", "whole"}[r.IntN(3)]
		code := "w" + strconv.Itoa(r.IntN(1000)) // some are asked again, for the cache
		if r.IntN(2) == 0 {
			code = "w" + strconv.FormatUint(r.Uint64(), 36)
		}
		d.ask(ctx, client, model, code, r.IntN(2) == 0, leaves)
		cancel()
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
	}
}

// ask asks once, and takes in what comes.
func (d *day) ask(ctx context.Context, client *http.Client, model, code string, streamed, leaves bool) {
	var text, by, fault string
	done := false
	s, err := d.g.open(ctx, client, chat(model, "The code word is "+code, streamed))
	if err == nil && (!streamed || s.resp.StatusCode != http.StatusOK) {
		defer s.resp.Body.Close()
		var all []byte
		all, err = io.ReadAll(s.lines)
		text, fault = gjson.GetBytes(all, "choices.0.message.content").Str, gjson.GetBytes(all, "error.message").Str
		done = err == nil && s.resp.StatusCode == http.StatusOK
	} else if err == nil {
		text, err = s.rest()
		if fault, done = s.fault, s.done; fault != "" {
			err = nil
		}
	}
	if s != nil && model != "same" {
		by = s.resp.Header.Get("X-LLM-Provider") + ":"
	}
	want := strings.TrimSuffix(dayText(by, code), " ")
	kind := fmt.Sprintf("%s, stream=%v", model, streamed)
	switch {
	case err != nil && leaves && errors.Is(ctx.Err(), context.Canceled):
		d.note("left: "+kind, "")
	case err != nil:
		d.note("", fmt.Sprintf("%s: %v after %q", kind, err, text))
	case done && fault == "" && text == want:
		d.note("right: "+kind, "")
	case fault != "" && strings.HasPrefix(want, text) && streamed && text != "" && model != "same":
		d.note("broken, and said so: "+kind, "")
	default: // one provider is always well
		d.note("", fmt.Sprintf("%s: %q and %q, want %q", kind, text, fault, want))
	}
}

// note counts an outcome. What is wrong is kept.
func (d *day) note(outcome, wrong string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if wrong != "" {
		d.wrong = append(d.wrong, wrong)
		return
	}
	d.outcomes[outcome]++
}

var (
	goroutinesTotal = regexp.MustCompile(`goroutine profile: total (\d+)`)
	heapInUse       = regexp.MustCompile(`# HeapInuse = (\d+)`)
)

// weigh returns the goroutines of the gateway and its heap in MiB, after a collection.
func (d *day) weigh(t *testing.T) (goroutines, heap int) {
	t.Helper()
	find := func(path string, what *regexp.Regexp) int {
		resp, err := adminClient.Get("http://" + d.g.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		match := what.FindSubmatch(text)
		if match == nil {
			t.Fatalf("%s says %.200s", path, text)
		}
		n, _ := strconv.Atoi(string(match[1]))
		return n
	}
	return find("/debug/pprof/goroutine?debug=1", goroutinesTotal), find("/debug/pprof/heap?debug=1&gc=1", heapInUse) >> 20
}

func TestDayOfFaults(t *testing.T) {
	lasts, clients := 3*time.Second, 20
	if os.Getenv("LLMGATEWAY_SOAK") != "" {
		lasts, clients = 10*time.Minute, 50
	}
	d := &day{g: newGateway(t), outcomes: make(map[string]int)}
	targets := func(words string) string {
		return fmt.Sprintf("to first {\n%s\n}\nto second {\n%s\n}\nto steady\n", words, words)
	}
	d.g.spawn(fmt.Sprintf(`route {
		llm_limit {
			key everybody
			tokens 1000000m per 1h
			parallel 1000
		}
		llm {
			provider first openai %s
			provider second openai %s
			provider steady openai %s
			provider tested openai %s
			resume on
			fail_duration 100ms
			max_fails 3
			cache memory {
				ttl 2s
			}
			model same {
				%s
			}
			model own {
				%s
				lb_policy least_latency
				hedge_after 100ms
				hedge_budget 20%%
				mirror tested 10
			}
			model whole {
				%s
				lb_policy round_robin
			}
		}
	}`, d.provider(t, "first", false), d.provider(t, "second", false), d.provider(t, "steady", true), d.provider(t, "tested", false),
		targets("first_token_timeout 250ms\nstream_idle_timeout 250ms"), targets("first_token_timeout 250ms\nstream_idle_timeout 250ms"),
		targets("timeout 500ms")))
	began := time.Now()
	d.until = began.Add(lasts)
	var all sync.WaitGroup
	var asking atomic.Int64
	for i := range clients {
		client := d.g.client(protocols[i%2])
		asking.Add(1)
		all.Go(func() {
			defer asking.Add(-1)
			d.client(t.Context(), client, rand.New(rand.NewPCG(uint64(i), 7)))
		})
	}
	var goroutines, heaps []int
	for asking.Load() > 0 {
		time.Sleep(min(lasts/20, time.Until(d.until)+time.Second))
		n, heap := d.weigh(t)
		goroutines, heaps = append(goroutines, n), append(heaps, heap)
	}
	all.Wait()
	await(t, "rest", func() bool { n, _ := d.weigh(t); return n < 200 })
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := 0
	for _, n := range d.outcomes {
		sum += n
	}
	t.Logf("%d requests, %d of them wrong: %v", sum+len(d.wrong), len(d.wrong), d.outcomes)
	t.Logf("goroutines %v; heap in MiB %v", goroutines, heaps)
	for _, wrong := range d.wrong[:min(10, len(d.wrong))] {
		t.Error(wrong)
	}
	if sum < clients {
		t.Errorf("only %d requests", sum)
	}
	// The beginning is no measure: caches and pools fill up first.
	half := len(goroutines) / 2
	if early, late := most(goroutines[:half]), most(goroutines[half:]); late > early+early/2+100 {
		t.Errorf("up to %d goroutines in the first half and %d in the second", early, late)
	}
	if early, late := most(heaps[:half]), most(heaps[half:]); late > early+early/2+16 {
		t.Errorf("up to %d MiB in the first half and %d in the second", early, late)
	}
}

func most(of []int) (n int) {
	for _, i := range of {
		n = max(n, i)
	}
	return n
}
