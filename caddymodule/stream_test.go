package caddymodule

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/tidwall/gjson"
)

// An upstream that sends an event only after the client has the one before shows that nothing is held back, however slow
// the machine is.
func TestEventsArriveAsTheyAreSent(t *testing.T) {
	const events = 20
	arrived := make(chan struct{}, events)
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		sayRole(w)
		for i := range events {
			say(w, fmt.Sprint(i, " "))
			select {
			case <-arrived:
			case <-r.Context().Done():
				return
			}
		}
		sayDone(w)
	})
	g := newGateway(t)
	g.start(fmt.Sprintf(`
		@encoded header Accept-Encoding *
		encode @encoded gzip zstd
		llm {
			provider far openai %s
			model m {
				to far/upstream
			}
		}`, url))
	for _, protocol := range protocols {
		for _, encoding := range []string{"", "gzip", "zstd"} {
			t.Run(protocol+" "+encoding, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				req := g.request(ctx, chat("m", "hello", true))
				if encoding != "" {
					req.Header.Set("Accept-Encoding", encoding)
				}
				resp, err := g.client(protocol).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				checkStreamHeader(t, resp, protocol, encoding)
				s := &stream{resp: resp, lines: bufio.NewReader(decoded(t, resp))}
				began := time.Now()
				for range events {
					if err := s.word(); err != nil {
						t.Fatal(err)
					}
					arrived <- struct{}{}
				}
				t.Logf("%v for each event and back", time.Since(began)/events)
				text, err := s.rest()
				if err != nil || !strings.HasPrefix(text, "0 1 2 3 ") || !strings.HasSuffix(text, "18 19 ") {
					t.Errorf("got %q, %v", text, err)
				}
			})
		}
	}
}

func checkStreamHeader(t *testing.T, resp *http.Response, protocol, encoding string) {
	t.Helper()
	if resp.Proto != protocol || resp.StatusCode != http.StatusOK {
		t.Errorf("got %s %s", resp.Proto, resp.Status)
	}
	for field, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Incremental": "?1",
		"Content-Length": "", "Content-Encoding": encoding,
		"X-LLM-Provider": "far", "X-LLM-Model": "upstream", "X-LLM-Attempts": "1",
	} {
		if got := resp.Header.Get(field); got != want {
			t.Errorf("%s: got %q, want %q", field, got, want)
		}
	}
}

// decoded undoes an answer's encoding, as bytes come.
func decoded(t *testing.T, resp *http.Response) io.Reader {
	t.Helper()
	switch resp.Header.Get("Content-Encoding") {
	case "gzip":
		r, err := gzip.NewReader(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	case "zstd":
		r, err := zstd.NewReader(resp.Body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	default:
		return resp.Body
	}
}

// The upstream is silent when the client leaves: what stops it is not the next token that cannot be written.
func TestLeavingClientStopsTheUpstream(t *testing.T) {
	stopped := make(chan struct{}, 1)
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		streamed := wantsStream(r)
		if streamed {
			sayRole(w)
			say(w, "hello")
		}
		select {
		case <-r.Context().Done():
			stopped <- struct{}{}
		case <-time.After(20 * time.Second):
		}
	})
	g := newGateway(t)
	g.start(fmt.Sprintf(`
		log_append outcome {http.llm.status}
		encode gzip zstd
		llm {
			provider far openai %s
			model m {
				to far
			}
		}`, url))
	for _, protocol := range protocols {
		for _, streamed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s stream=%v", protocol, streamed), func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				left := make(chan time.Time, 1)
				if streamed {
					s, err := g.open(ctx, g.client(protocol), chat("m", "hello", true))
					if err == nil {
						err = s.word()
					}
					if err != nil {
						t.Fatal(err)
					}
					left <- time.Now()
					leave()
				} else {
					time.AfterFunc(100*time.Millisecond, func() {
						left <- time.Now()
						leave()
					})
					if a, err := g.ask(ctx, g.client(protocol), chat("m", "hello", false)); err == nil {
						t.Fatalf("got %v", a)
					}
				}
				select {
				case <-stopped:
					t.Logf("the upstream stopped after %v", time.Since(<-left))
				case <-time.After(10 * time.Second):
					t.Fatal("the upstream goes on")
				}
				checkLastOutcome(t, g, 499)
			})
		}
	}
}

// A model with one slot that goes on counting for nobody would keep the next client waiting.
func TestLeavingClientFreesTheModel(t *testing.T) {
	g := newGateway(t)
	g.start(strings.Replace(localSite(t, "", ""), "n_parallel 4", "n_parallel 1", 1))
	checkWord(t, g, "near")
	for _, protocol := range protocols {
		for _, streamed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s stream=%v", protocol, streamed), func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				endless := chat("m", "please count", streamed, `"max_tokens":100000`)
				if streamed {
					s, err := g.open(ctx, g.client(protocol), endless)
					if err == nil {
						err = s.word()
					}
					if err != nil {
						t.Fatal(err)
					}
				} else {
					time.AfterFunc(100*time.Millisecond, leave)
					if a, err := g.ask(ctx, g.client(protocol), endless); err == nil {
						t.Fatalf("got %d %.100s", a.status, a.body)
					}
				}
				leave()
				began := time.Now()
				checkWord(t, g, "near")
				t.Logf("the next client was answered after %v", time.Since(began))
			})
		}
	}
}

// checkLastOutcome waits for a new entry in the access log and compares the outcome in it.
func checkLastOutcome(t *testing.T, g *gateway, want float64) {
	t.Helper()
	seen := g.seen
	await(t, "entry in the access log", func() bool {
		g.seen = g.handled()
		return g.seen > seen
	})
	entries := g.logged("handled request")
	if got := entries[len(entries)-1]["outcome"]; got != want {
		t.Errorf("outcome %v, want %v, in %v", got, want, entries[len(entries)-1])
	}
}

func TestStalledUploadIsTold(t *testing.T) {
	g := newGateway(t)
	g.options = "servers {\ntimeouts {\nread_body_idle 100ms\n}\n}"
	g.start("llm {\nprovider echo echo\nmodel m {\nto echo\n}\n}")
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			upload, write := io.Pipe()
			defer write.Close()
			req := g.request(t.Context(), "")
			req.Body, req.GetBody, req.ContentLength = upload, nil, 1000
			go func() { _, _ = io.WriteString(write, `{"model":`) }()
			resp, err := g.client(protocol).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(text), "did not arrive in time") {
				t.Errorf("got %s %s, %v", resp.Status, text, err)
			}
		})
	}
}

// Every stream is asked for its usage, for the log. A client that did not ask for it does not see it.
func TestUsageOfAStreamIsLoggedAndShownToWhoAsked(t *testing.T) {
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !gjson.GetBytes(body, "stream_options.include_usage").Bool() {
			t.Errorf("the provider was asked %s", body)
		}
		sayRole(w)
		say(w, "hello")
		sendDelta(w, "{}", `"stop"`)
		_, _ = io.WriteString(w, `data: {"id":"x","object":"chat.completion.chunk","model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}`+"\n\ndata: [DONE]\n\n")
	})
	g := newGateway(t)
	g.start(fmt.Sprintf("log_append tokens {http.llm.usage.total_tokens}\nllm {\nprovider far openai %s\nmodel m {\nto far\n}\n}", url))
	for i, options := range []string{`"x":1`, `"stream_options":{"include_usage":false}`, `"stream_options":{"include_usage":true}`} {
		req := g.request(t.Context(), chat("m", "hello", true, options))
		resp, err := g.client("HTTP/2.0").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if shown := strings.Contains(string(text), `"usage":{`); err != nil || shown != (i == 2) || !strings.HasSuffix(string(text), "data: [DONE]\n\n") {
			t.Errorf("%s: got %s, %v", options, text, err)
		}
		await(t, "the log", func() bool { return g.handled() == i+1 })
		if got := g.logged("handled request")[i]["tokens"]; got != 6.0 && got != "6" {
			t.Errorf("%s: logged %v tokens", options, got)
		}
	}
}
