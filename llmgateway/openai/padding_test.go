package openai

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestWaitingClientOfAWholeAnswerGetsWhiteSpace(t *testing.T) {
	failed := &llmgateway.Error{Kind: llmgateway.Timeout, Message: "too late"}
	for _, test := range []struct {
		name string
		wait time.Duration
		err  error
		pads []string
		rest string
	}{
		{"an answer in time", 19 * time.Second, nil, nil, `{"a":1}`},
		{"an answer that takes long", 51 * time.Second, nil, []string{"20s  ", "35s  ", "50s  "}, `{"a":1}`},
		{"an error in time", 19 * time.Second, failed, nil, ""},
		{"an error after white space", 21 * time.Second, failed, []string{"20s  "}, string(ErrorBody(failed))},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newPatient(t)
				p := StartPadding(c, 20*time.Second, 15*time.Second, func(err error) { t.Errorf("left: %v", err) })
				err := Write(c, &llmgateway.Request{}, after(c, p, test.wait, `{"a":1}`, test.err), p, nil)
				if !errors.Is(err, test.err) {
					t.Errorf("got %v, want %v", err, test.err)
				}
				if broken, ok := errors.AsType[*BrokenError](err); ok != (test.err != nil && test.pads != nil) || ok && !broken.Empty {
					t.Errorf("got %#v", err)
				}
				if !slices.Equal(c.log, test.pads) || c.text.String() != test.rest {
					t.Errorf("got  %q, %q\nwant %q, %q", c.log, c.text.String(), test.pads, test.rest)
				}
				if length := c.sent.Get("Content-Length"); (length == "7") != (test.pads == nil && test.err == nil) {
					t.Errorf("got Content-Length %q", length)
				}
				if test.rest != "" && (c.status != 200 || c.sent.Get("Content-Type") != "application/json") {
					t.Errorf("got %d, %v", c.status, c.sent)
				}
			})
		})
	}
}
