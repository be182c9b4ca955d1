package openai

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestClientSendsTheFieldsOfAHookForOneRequestOnly(t *testing.T) {
	var got []string
	c := clientOf(t, func(r *http.Request) (*http.Response, error) {
		got = append(got, r.Header.Get("X-Trace")+r.Header.Get("Authorization"))
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(`{"choices":[{}]}`)),
		}, nil
	})
	r, err := Read(llmgateway.Chat, llmgateway.NewBody([]byte(`{"model":"m","messages":[]}`)))
	if err != nil {
		t.Fatal(err)
	}
	traced := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{
		Sending: func(context.Context) http.Header { return http.Header{"X-Trace": {"1"}} },
	})
	silent := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{Sending: func(context.Context) http.Header { return nil }})
	for _, ctx := range []context.Context{t.Context(), traced, silent} {
		for _, err := range c.Generate(ctx, r) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if key := c.Header.Get("Authorization"); !slices.Equal(got, []string{key, "1" + key, key}) {
		t.Errorf("got %q", got)
	}
}
