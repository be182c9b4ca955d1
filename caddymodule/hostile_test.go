package caddymodule

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// rawUpstream starts a server that reads a request and then writes whatever it likes, until it fails, the function returns, or
// a minute has passed.
func rawUpstream(t *testing.T, answer func(w io.Writer) error) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_ = answer(conn)
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/v1"
}

// endless writes the same again and again.
func endless(head, unit string, pause time.Duration) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, head)
		for err == nil {
			_, err = io.WriteString(w, unit)
			time.Sleep(pause)
		}
		return err
	}
}

// just writes something and closes the connection.
func just(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	jsonHead   = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
)

// bomb is a small answer that is a large one when it is unpacked.
func bomb(contentType string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Type: "+contentType+"\r\n\r\n")
		z := gzip.NewWriter(w)
		zeros := make([]byte, 1<<20)
		for range 200 {
			if _, err := z.Write(zeros); err != nil {
				return err
			}
		}
		return z.Close()
	}
}

// Whatever a provider sends, it is bounded in size and time, the next target answers, and the log says what was wrong.
func TestHostileProvidersAreBounded(t *testing.T) {
	long := strings.Repeat("a", 64<<10)
	tests := []struct {
		name    string
		answer  func(io.Writer) error
		error   string // of a stream, or of both
		plain   string
		options string
	}{
		{"a header without end", endless("HTTP/1.1 200 OK\r\n", "X-Long: "+long+"\r\n", 0), "the header of the provider's answer is too large", "", ""},
		{"a line of the header without end", endless("HTTP/1.1 200 OK\r\nX-Long: ", long, 0), "the header of the provider's answer is too large", "", ""},
		{"a status line without end", endless("HTTP/1.1 200 ", long, 0), "the header of the provider's answer is too large", "", ""},
		{"early hints without end", endless("", "HTTP/1.1 103 Early Hints\r\nX-Hint: "+long+"\r\n\r\n", 0), "the header of the provider's answer is too large", "", ""},
		{"a header that drips", endless("HTTP/1.1 200 OK\r\nX-Slow: ", "a", 10*time.Millisecond), "no first token within", "no whole answer within", ""},
		{"a body that drips", endless(streamHead, " ", 10*time.Millisecond), "no first token within", "did not answer with JSON", ""},
		{"an answer that drips", endless(jsonHead, " ", 10*time.Millisecond), "no first token within", "no whole answer within", ""},
		{"comments without end", endless(streamHead, ": still there\n\n", time.Millisecond), "no first token within", "did not answer with JSON", ""},
		{"an event without end", endless(streamHead+"data: {\"choices\":[{\"delta\":{\"content\":\"", long, 0), "an event of more than 32 MiB", "did not answer with JSON", ""},
		{"an event of lines without end", endless(streamHead+"data: {", "data: "+long+"\n", 0), "an event of more than 32 MiB", "did not answer with JSON", ""},
		{"roles without end", endless(streamHead, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n", time.Millisecond), "no first token within", "did not answer with JSON", ""},
		{"an answer that is announced too large", just(strings.Replace(jsonHead, "\r\n\r\n", "\r\nContent-Length: 300000000\r\n\r\n", 1)), "did not answer with an event stream", "answer is too large", ""},
		{"an error without end", endless("HTTP/1.1 500 Oh\r\n\r\n", long, 0), "HTTP 500", "", ""},
		{"a chunk size without end", endless(strings.Replace(jsonHead, "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1), strings.Repeat("0", 1000), 0), "did not answer with an event stream", "the connection failed", ""},
		{"a compressed stream", bomb("text/event-stream"), "sent a compressed answer", "", ""},
		{"a compressed answer", bomb("application/json"), "sent a compressed answer", "", ""},
		{"a compressed answer, by Caddy's transport", bomb("application/json"), "sent a compressed answer", "", "transport http"},
		{"a redirect to itself", just("HTTP/1.1 307 There\r\nLocation: /v1/chat/completions\r\nConnection: close\r\n\r\n"), "HTTP 307", "", ""},
	}
	var site strings.Builder
	for i, test := range tests {
		fmt.Fprintf(&site, "provider first%d openai %s {\n%s\n}\n", i, rawUpstream(t, test.answer), test.options)
		for _, mode := range []string{"stream", "plain"} {
			deadline := map[string]string{"stream": "first_token_timeout 500ms", "plain": "timeout 500ms"}[mode]
			if !strings.Contains(test.error+test.plain, "within") {
				deadline = "timeout 1m"
			}
			fmt.Fprintf(&site, "model %s%d {\nto first%d {\n%s\n}\nto second\n}\n", mode, i, i, deadline)
		}
	}
	g := newGateway(t)
	g.start(fmt.Sprintf("llm {\nprovider second openai %s\n%s}", playing(t, well("second"), new(atomic.Int64)), &site))
	client := g.client("HTTP/1.1")
	for i, test := range tests {
		for _, mode := range []string{"stream", "plain"} {
			t.Run(test.name+" "+mode, func(t *testing.T) {
				streamed := mode == "stream"
				got := g.bear(t, client, chat(fmt.Sprint(mode, i), "hello", streamed), streamed)
				if got.text != wordsOf("second", 1, allWords) || got.error != "" || got.header.Get("X-LLM-Attempts") != "2" {
					t.Fatalf("got %q, %q, %v", got.text, got.error, got.header)
				}
				want := test.error
				if !streamed && test.plain != "" {
					want = test.plain
				}
				logged := g.logged("target did not answer")
				if said, _ := logged[len(logged)-1]["error"].(string); !strings.Contains(said, want) {
					t.Errorf("the log says %q, want %q", said, want)
				}
			})
		}
	}
}

// An event that is too large in the middle of a stream ends it, with an error that says so.
func TestHugeEventInTheMiddleIsAnError(t *testing.T) {
	word := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n"
	g := newGateway(t)
	g.start(fmt.Sprintf("llm {\nprovider a openai %s\nmodel m {\nto a\n}\n}", rawUpstream(t, endless(streamHead+word+"data: ", strings.Repeat("a", 64<<10), 0))))
	got := g.bear(t, g.client("HTTP/2.0"), chat("m", "hello", true), true)
	if got.text != "one" || !strings.Contains(got.error, "an event of more than 32 MiB") || strings.Contains(got.all, "[DONE]") {
		t.Errorf("got %q, %q", got.text, got.error)
	}
}

// What a client says of itself stays here, and what the gateway says of itself goes to the provider only.
func TestCredentialsGoNowhereElse(t *testing.T) {
	const own = "sk-gateway-0123456789"
	var elsewhere atomic.Int64
	other := upstream(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	seen := make(chan http.Header, 10)
	asked := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		wantsStream(r)
		seen <- r.Header.Clone()
		http.Redirect(w, r, other+"/chat/completions", http.StatusTemporaryRedirect)
	})
	t.Setenv("LLMGATEWAY_TEST_KEY", own)
	for name, transport := range map[string]string{"own transport": "", "Caddy's transport": "transport http"} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.start(fmt.Sprintf("llm {\nprovider a openai %s {\napi_key {env.LLMGATEWAY_TEST_KEY}\n%s\n}\nprovider b openai %s\nmodel m {\nto a b\n}\n}",
				asked, transport, playing(t, well("second"), new(atomic.Int64))))
			req := g.request(t.Context(), chat("m", "hello", false))
			for _, field := range []string{
				"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "Cookie", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Referer",
				"Origin", "Openai-Organization", "X-Amz-Security-Token", "X-Custom",
			} {
				req.Header.Set(field, "client-secret")
			}
			resp, err := g.client("HTTP/1.1").Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("got %s: %s", resp.Status, body)
			}
			header := <-seen
			if header.Get("Authorization") != "Bearer "+own {
				t.Errorf("the provider got %v", header)
			}
			known := []string{"Accept", "Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "User-Agent"}
			if got := slices.Sorted(maps.Keys(header)); !slices.Equal(got, known) || strings.Contains(fmt.Sprint(header), "client-secret") {
				t.Errorf("the provider got %v", header)
			}
		})
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

// A request names models and providers of the configuration, and nothing else: no address in it is ever connected to.
func TestRequestsNameNoAddresses(t *testing.T) {
	var inside atomic.Int64
	private := upstream(t, func(w http.ResponseWriter, r *http.Request) { // what a client would like to reach
		inside.Add(1)
		good(w, r)
	})
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider near llamacpp %q {
			n_ctx 512
		}
		provider far openai %s
		model m {
			to near
		}
		model far {
			to far
		}
	}`, starterModel(t), playing(t, well("second"), new(atomic.Int64))))
	client := g.client("HTTP/1.1")
	image := fmt.Sprintf(`[{"type":"image_url","image_url":{"url":%q}}]`, private+"/x.png")
	for _, body := range []string{
		fmt.Sprintf(`{"model":%q,"messages":[]}`, private),
		fmt.Sprintf(`{"model":"far","provider":%q,"messages":[]}`, private),
		fmt.Sprintf(`{"model":%q,"messages":[]}`, private+"/far"),
		fmt.Sprintf(`{"model":"far","base_url":%q,"api_base":%q,"messages":[{"role":"user","content":"hi"}]}`, private, private),
		fmt.Sprintf(`{"model":"m","models":[%q],"messages":[]}`, private),
		fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%s}]}`, image),
		fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%s}]}`, strings.Replace(image, "http:", "file:", 1)),
		fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%s}]}`, strings.Replace(image, "http:", `\u0068ttp:`, 1)),
		`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://169.254.169.254/latest/meta-data"}}]}]}`,
	} {
		a, err := g.ask(t.Context(), client, body)
		if err != nil || strings.Contains(body, "far") != (a.status == http.StatusOK) && !strings.Contains(body, "provider") && !strings.Contains(body, "/far") {
			t.Errorf("%s: got %v, %v", body, a, err)
		}
	}
	req := g.request(t.Context(), chat("far", "hello", false))
	req.Header.Set("X-LLM-Provider", private)
	req.Header.Set("X-Forwarded-Host", private)
	req.Host = "localhost"
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode == http.StatusOK {
		t.Errorf("got %v, %v", resp, err)
	}
	if n := inside.Load(); n > 0 {
		t.Errorf("an address in a request was connected to %d times", n)
	}
}
