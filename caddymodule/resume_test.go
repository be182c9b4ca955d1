package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"
)

// cutAt40 breaks its stream behind the fortieth word.
func cutAt40(w http.ResponseWriter, r *http.Request, _ int) {
	wantsStream(r)
	sayRole(w)
	count(w, "first", 1, 40)
	panic(http.ErrAbortHandler)
}

// inOtherPieces says the first one's words, but cuts them elsewhere.
func inOtherPieces(w http.ResponseWriter, r *http.Request, _ int) {
	wantsStream(r)
	sayRole(w)
	for text := wordsOf("first", 1, allWords); text != ""; {
		n := min(11, len(text))
		sendDelta(w, fmt.Sprintf(`{"content":%q}`, text[:n]), "null")
		text = text[n:]
	}
	sendEnd(w, "second")
	sendData(w, "[DONE]")
}

// goesOn says something else, unless it is asked to go on.
func goesOn(w http.ResponseWriter, r *http.Request, call int) {
	body, _ := io.ReadAll(r.Body)
	last := gjson.GetBytes(body, "messages.@reverse.0")
	if last.Get("role").Str != "assistant" {
		count(w, "second", 1, allWords)
		return
	}
	if last.Get("content").Str != strings.TrimSpace(wordsOf("first", 1, 40)) {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	sayRole(w)
	count(w, "first", 41, allWords)
	sendEnd(w, "second")
	sendData(w, "[DONE]")
}

func TestBrokenStreamIsFinishedByTheNextTarget(t *testing.T) {
	noPrefill := func(w http.ResponseWriter, r *http.Request, call int) {
		if call == 1 {
			wantsStream(r)
			count(w, "second", 1, allWords)
			return
		}
		fails(400, `{"error":{"message":"the last message must be the user's"}}`)(w, r, call)
	}
	repeats := func(w http.ResponseWriter, r *http.Request, call int) {
		if wantsStream(r); call == 1 {
			count(w, "second", 1, allWords)
			return
		}
		count(w, "first", 1, allWords)
	}
	stalls := func(w http.ResponseWriter, r *http.Request, _ int) {
		wantsStream(r)
		count(w, "first", 1, 40)
		hang(w, r)
	}
	halfCall := func(w http.ResponseWriter, r *http.Request, _ int) {
		wantsStream(r)
		count(w, "first", 1, 40)
		sendDelta(w, `{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"click","arguments":"{\"x\":"}}]}`, "null")
		panic(http.ErrAbortHandler)
	}
	const prefill = "capabilities tools prefill"
	tests := []struct {
		name          string
		first, second play
		options       string // of the second
		words         int
		error         string
		asked         int // how often the second was
	}{
		{"S08 cut, and said again", cutAt40, inOtherPieces, "", allWords, "", 1},
		{"S08 cut, and gone on with", cutAt40, goesOn, prefill, allWords, "", 2},
		{"S08 cut, and said otherwise", cutAt40, well("second"), "", 40, "nobody could finish the answer; second: its answer is another", 1},
		{"S09 stalled, and said again", stalls, inOtherPieces, "", allWords, "", 1},
		{"S14 cut, and the second takes no prefill", cutAt40, noPrefill, prefill, 40, "second: it does not go on with an answer", 2},
		{"cut, and the second repeats", cutAt40, repeats, prefill, 40, "second: it repeats what had been sent", 2},
		{"cut, and the second is down", cutAt40, fails(503, "no"), prefill, 40, "nobody could finish the answer; second: HTTP 503", 1},
		{"cut in a tool call", halfCall, inOtherPieces, prefill, 40, "the stream ended before", 0},
	}
	var site strings.Builder
	calls := make([]atomic.Int64, len(tests))
	for i, test := range tests {
		fmt.Fprintf(&site, "provider first%d openai %s\nprovider second%d openai %s\nmodel m%d {\nto first%d/first-model\nto second%d/second-model {\n%s\n}\n}\n",
			i, playing(t, test.first, new(atomic.Int64)), i, playing(t, test.second, &calls[i]), i, i, i, test.options)
	}
	g := newGateway(t)
	g.start(fmt.Sprintf("log_append finisher {http.llm.resumed_by}\nllm {\nresume on\nstream_idle_timeout %s\n%s}", faultPatience, &site))
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := g.bear(t, g.client("HTTP/2.0"), chat(fmt.Sprint("m", i), "hello", true, `"stream_options":{"include_usage":true}`), true)
			if text := wordsOf("first", 1, test.words); got.text != text {
				t.Errorf("got the text %q, want %q", got.text, text)
			}
			if (test.error == "") != (got.error == "") || !strings.Contains(strings.ReplaceAll(got.error, fmt.Sprint("second", i), "second"), test.error) {
				t.Errorf("got the error %q, want %q", got.error, test.error)
			}
			if asked := int(calls[i].Load()); asked != test.asked {
				t.Errorf("the second was asked %d times, want %d", asked, test.asked)
			}
			finisher := fmt.Sprintf("second%d/second-model", i)
			if told := strings.Contains(got.all, ": X-Llm-Resumed: "+finisher+"\n\n"); told != (test.error == "") {
				t.Errorf("told who finished the answer: %v; in %s", told, got.all)
			}
			if got.header.Get("X-LLM-Provider") != fmt.Sprint("first", i) || got.header.Get("X-LLM-Resumed") != "" {
				t.Errorf("got the header %v", got.header)
			}
			if test.error != "" {
				return
			}
			// 40 tokens of the first, 60 of the second, and one that it said before it was asked to go on.
			if got.model != "m" || !strings.Contains(got.all, fmt.Sprintf(`"completion_tokens":%d`, 99+test.asked)) {
				t.Errorf("got the model %q and not the usage of both in %s", got.model, got.all)
			}
			if logged := g.logged("answer is finished by another target"); len(logged) == 0 || logged[len(logged)-1]["provider"] != fmt.Sprint("second", i) {
				t.Errorf("the log has %v", logged)
			}
			entries := g.logged("handled request")
			if len(entries) == 0 || entries[len(entries)-1]["finisher"] != finisher {
				t.Errorf("the access log does not name %s", finisher)
			}
		})
	}
}

// The real llama-server finishes what another began, by going on with it or by saying the same.
func TestLocalModelFinishesABrokenStream(t *testing.T) {
	model := starterModel(t)
	var begin atomic.Pointer[string] // what the first says before it breaks
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		wantsStream(r)
		sayRole(w)
		say(w, *begin.Load())
		panic(http.ErrAbortHandler)
	})
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		resume on
		provider far openai %s
		provider near llamacpp %s {
			n_ctx 512
		}
		model broken {
			to far near
		}
		model near {
			to near
		}
	}`, url, model))
	members := []string{`"temperature":0`, `"max_tokens":24`}
	client := g.client("HTTP/2.0")
	direct := g.bear(t, client, chat("near", "Tell me a story", true, members...), true)
	if len(direct.text) < 10 || direct.error != "" {
		t.Fatalf("the model says %q, %s", direct.text, direct.error)
	}
	t.Run("by saying the same", func(t *testing.T) {
		half := direct.text[:len(direct.text)/2]
		begin.Store(&half)
		got := g.bear(t, client, chat("broken", "Tell me a story", true, members...), true)
		if got.text != direct.text || got.error != "" || !strings.Contains(got.all, ": X-Llm-Resumed: near/") {
			t.Errorf("got %q, %s, want %q; %s", got.text, got.error, direct.text, got.all)
		}
	})
	t.Run("by going on", func(t *testing.T) {
		words := "Zebras never forget the numbers nine, eight "
		begin.Store(&words)
		got := g.bear(t, client, chat("broken", "Tell me a story", true, members...), true)
		rest, ok := strings.CutPrefix(got.text, words)
		if !ok || got.error != "" || !strings.Contains(got.all, ": X-Llm-Resumed: near/") || strings.Contains(rest, "Zebras never forget") {
			t.Errorf("got %q, %s; %s", got.text, got.error, got.all)
		}
		t.Logf("it went on with %q", rest)
	})
}

// Each provider's tokens are its own, whoever began the answer.
func TestTokensOfAFinishedAnswerCountForWhoUsedThem(t *testing.T) {
	g := newGateway(t)
	g.options = "metrics"
	g.start(fmt.Sprintf("llm {\nresume on\nprovider began openai %s\nprovider finished openai %s\nmodel joined {\nto began finished\n}\n}",
		playing(t, cutAt40, new(atomic.Int64)), playing(t, inOtherPieces, new(atomic.Int64))))
	got := g.bear(t, g.client("HTTP/2.0"), chat("joined", "hello", true, `"stream_options":{"include_usage":true}`), true)
	if got.text != wordsOf("first", 1, allWords) {
		t.Fatalf("got the text %q", got.text)
	}
	await(t, "the tokens in the metrics", func() bool {
		return value(g.families(), "caddy_llm_tokens_total", "model", "joined", "kind", "completion") > 0
	})
	for provider, want := range map[string]float64{"began": 0, "finished": 60} {
		if n := value(g.families(), "caddy_llm_tokens_total", "model", "joined", "provider", provider, "kind", "completion"); n != want {
			t.Errorf("%s: got %v tokens, want %v", provider, n, want)
		}
	}
}
