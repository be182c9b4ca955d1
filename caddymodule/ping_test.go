package caddymodule

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// answersLater is a model server that begins to answer when it is told to.
func answersLater(t *testing.T, answer <-chan struct{}) string {
	t.Helper()
	return upstream(t, func(w http.ResponseWriter, r *http.Request) {
		streamed := wantsStream(r)
		select {
		case <-answer:
		case <-r.Context().Done():
			return
		}
		if !streamed {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"late"},"finish_reason":"stop"}]}`)
			return
		}
		sayRole(w)
		say(w, "late")
		sayDone(w)
	})
}

// pings reads until n pings have come and nothing else.
func pings(lines *bufio.Reader, n int) error {
	for range n {
		for _, want := range []string{": ping\n", "\n"} {
			if line, err := lines.ReadString('\n'); err != nil || line != want {
				return fmt.Errorf("got %q, %v; want %q", line, err, want)
			}
		}
	}
	return nil
}

// The upstream answers only when the client has two pings: nothing may hold them back.
func TestPingsArriveAtOnce(t *testing.T) {
	answer := make(chan struct{}, 1)
	g := newGateway(t)
	g.start(fmt.Sprintf(`
		@encoded header Accept-Encoding *
		encode @encoded gzip zstd
		header >X-Asked {http.llm.retries}
		llm {
			provider dead openai http://%s/v1
			provider far openai %s
			model m {
				to dead
				to far/upstream
			}
			ping_interval 50ms
		}`, freeAddress(t), answersLater(t, answer)))
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
				defer resp.Body.Close()
				for field, want := range map[string]string{
					"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Content-Encoding": encoding, "X-LLM-Provider": "", "X-Asked": "1",
				} {
					if got := resp.Header.Get(field); got != want {
						t.Errorf("%s: got %q, want %q", field, got, want)
					}
				}
				s := &stream{resp: resp, lines: bufio.NewReader(decoded(t, resp))}
				if err := pings(s.lines, 2); err != nil {
					t.Fatal(err)
				}
				answer <- struct{}{}
				var comments strings.Builder
				for {
					line, err := s.lines.ReadString('\n')
					if err != nil {
						t.Fatal(err)
					}
					if !strings.HasPrefix(line, ":") && line != "\n" {
						break // the role
					}
					comments.WriteString(line)
				}
				if want := "\n: X-Llm-Attempts: 2\n: X-Llm-Model: upstream\n: X-Llm-Provider: far\n\n"; !strings.HasSuffix("\n"+comments.String(), want) {
					t.Errorf("got the comments %q, want %q at their end", comments.String(), want)
				}
				if text, err := s.rest(); err != nil || text != "late" {
					t.Errorf("got %q, %v", text, err)
				}
			})
		}
	}
}

func TestSDKSkipsPings(t *testing.T) {
	answer := make(chan struct{})
	g := newGateway(t)
	g.start(fmt.Sprintf(`
		log_append outcome {http.llm.status}
		log_append provider {http.llm.provider}
		llm {
			provider far openai %s
			provider silent openai %s
			model m {
				to far
			}
			model late {
				to silent {
					first_token_timeout 400ms
				}
			}
			model second {
				to silent {
					first_token_timeout 200ms
				}
				to far
			}
			ping_interval 20ms
		}`, answersLater(t, answer), silent(t)))
	httpClient := g.client("HTTP/1.1")
	sdk := openai.NewClient(option.WithBaseURL(strings.TrimSuffix(g.request(t.Context(), "").URL.String(), "/chat/completions")),
		option.WithAPIKey("none"), option.WithMaxRetries(0), option.WithHTTPClient(httpClient))
	ask := func(model string) (text string, err error) {
		events := sdk.Chat.Completions.NewStreaming(t.Context(), openai.ChatCompletionNewParams{
			Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
		})
		for events.Next() {
			for _, choice := range events.Current().Choices {
				text += choice.Delta.Content
			}
		}
		return text, events.Err()
	}
	// checkLogged looks at the access log's next entry.
	checkLogged := func(outcome float64, provider string) {
		t.Helper()
		g.seen++
		await(t, "entry in the access log", func() bool { return g.handled() >= g.seen })
		entry := g.logged("handled request")[g.seen-1]
		if entry["status"] != 200.0 || entry["outcome"] != outcome || entry["provider"] != provider {
			t.Errorf("logged %v, %v, %v; want 200, %v, %s", entry["status"], entry["outcome"], entry["provider"], outcome, provider)
		}
	}

	go func() {
		time.Sleep(200 * time.Millisecond)
		answer <- struct{}{}
	}()
	if text, err := ask("m"); err != nil || text != "late" {
		t.Errorf("got %q, %v", text, err)
	}
	checkLogged(200, "far")

	// Pings are no sign of life of the upstream: its deadline passes among them, and the error follows them.
	began := time.Now()
	if text, err := ask("late"); err == nil || !strings.Contains(err.Error(), "silent: no first token within 400ms") || text != "" {
		t.Errorf("got %q, %v", text, err)
	}
	if took := time.Since(began); took < 400*time.Millisecond || took > 4*time.Second {
		t.Errorf("took %v", took)
	}
	checkLogged(504, "")
	if n := len(g.logged("answer broke off")); n != 0 {
		t.Errorf("%d answers of which nothing was sent are called broken", n)
	}

	go func() { answer <- struct{}{} }()
	if text, err := ask("second"); err != nil || text != "late" {
		t.Errorf("got %q, %v", text, err)
	}
	checkLogged(200, "far")
}

func TestErrorAfterAPingIsAnEvent(t *testing.T) {
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider silent openai %s
		model m {
			to silent {
				first_token_timeout 800ms
			}
		}
		ping_interval 50ms
	}`, silent(t)))
	for _, protocol := range protocols {
		got, err := g.ask(t.Context(), g.client(protocol), chat("m", "hello", true))
		const end = ": X-Llm-Attempts: 1\n\n" +
			`data: {"error":{"message":"silent: no first token within 800ms","type":"server_error","param":null,"code":"timeout"}}` + "\n\n"
		if rest := strings.TrimLeft(got.body, ": ping\n"); err != nil || got.status != 200 || !strings.HasPrefix(got.body, ": ping\n\n") || ": "+rest != end {
			t.Errorf("%s: got %d %q, %v", protocol, got.status, got.body, err)
		}
	}
}

func TestNobodyElseIsPinged(t *testing.T) {
	answer := make(chan struct{})
	g := newGateway(t)
	site := `llm {
		provider far openai ` + answersLater(t, answer) + `
		model m {
			to far
		}
		ping_interval %s
	}`
	g.start(fmt.Sprintf(site, "10ms"))
	check := func(stream bool, provider string) {
		t.Helper()
		go func() {
			time.Sleep(150 * time.Millisecond)
			answer <- struct{}{}
		}()
		got, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat("m", "hello", stream))
		if err != nil || strings.Contains(got.body, "ping") || got.header.Get("X-LLM-Provider") != provider {
			t.Errorf("stream %t: got %q by %q, %v", stream, got.body, got.header.Get("X-LLM-Provider"), err)
		}
	}
	check(false, "far")
	if err := g.reload(fmt.Sprintf(site, "off")); err != nil {
		t.Fatal(err)
	}
	check(true, "far")
}

// TestPingedClientThatLeavesStopsTheUpstream leaves while nothing but pings has been sent.
func TestPingedClientThatLeavesStopsTheUpstream(t *testing.T) {
	stopped := make(chan struct{}, 1)
	g := newGateway(t)
	g.start(`
		log_append outcome {http.llm.status}
		llm {
			provider far openai ` + upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		wantsStream(r)
		<-r.Context().Done()
		stopped <- struct{}{}
	}) + `
			model m {
				to far
			}
			ping_interval 20ms
		}`)
	for i, protocol := range protocols {
		ctx, leave := context.WithCancel(t.Context())
		s, err := g.open(ctx, g.client(protocol), chat("m", "hello", true))
		if err == nil {
			err = pings(s.lines, 2)
		}
		if err != nil {
			t.Fatal(err)
		}
		leave()
		select {
		case <-stopped:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the upstream goes on", protocol)
		}
		await(t, "entry in the access log", func() bool { return g.handled() > i })
		if outcome := g.logged("handled request")[i]["outcome"]; outcome != 499.0 {
			t.Errorf("%s: logged %v, want 499", protocol, outcome)
		}
	}
}
