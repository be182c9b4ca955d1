package caddymodule

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestOnlyAClientThatLeftCountsAsGone(t *testing.T) {
	for _, test := range []struct {
		err  error
		want llmgateway.Kind
	}{
		{errors.New("malformed chunked encoding"), llmgateway.InvalidRequest},
		{io.ErrUnexpectedEOF, llmgateway.Canceled},
		{&net.OpError{Op: "read", Err: net.ErrClosed}, llmgateway.Canceled},
		{fmt.Errorf("reading: %w", llmgateway.ErrBodyTooLarge), llmgateway.InvalidRequest},
	} {
		if got := llmgateway.AsError(readError(test.err)).Kind; got != test.want {
			t.Errorf("%v: got %s, want %s", test.err, got, test.want)
		}
	}
}

// The repository's Caddyfile answers in OpenAI's shape also where Caddy refuses before our handler is asked.
func TestAnAnnouncedBodyThatIsTooLargeIsRefusedInJSON(t *testing.T) {
	base, err := url.Parse(run(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", base.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// net/http looks at what follows for a moment before it closes the connection.
	body := strings.Repeat("a", 300<<10)
	if _, err := fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000000\r\n\r\n%s", body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(text), `"code":"request_too_large"`) {
		t.Errorf("got %s %s", resp.Status, text)
	}
}
