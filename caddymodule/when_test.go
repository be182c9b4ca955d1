package caddymodule

import (
	"fmt"
	"strings"
	"testing"
)

// TestSimpleRequestsStayAndOthersGo has a strong model for some requests in front of one for all.
func TestSimpleRequestsStayAndOthersGo(t *testing.T) {
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider big openai %[1]s
		provider premium openai %[1]s
		provider small openai %[1]s
		model m {
			to big {
				when tokens above 1000
			}
			to premium {
				when header x-user premium
				when not tools
			}
			to small
		}
		model picky {
			to big {
				when images
			}
		}
	}`, upstream(t, good)))
	client := g.client("HTTP/2.0")
	const image = `[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]`
	for _, test := range []struct {
		name, model, content, more, user string
		want                             string
	}{
		{"simple", "m", `"hi"`, "", "", "small"},
		{"long", "m", `"` + strings.Repeat("one two three four ", 300) + `"`, "", "", "big"},
		{"premium", "m", `"hi"`, "", "premium", "premium"},
		{"premium with tools", "m", `"hi"`, `,"tools":[{"type":"function","function":{"name":"f"}}]`, "premium", "small"},
		{"another tier", "m", `"hi"`, "", "basic", "small"},
		{"an image", "picky", image, "", "", "big"},
		{"nothing for it", "picky", `"hi"`, "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%s}]%s}`, test.model, test.content, test.more)
			got, err := g.askAs(t.Context(), client, test.user, body)
			if err != nil {
				t.Fatal(err)
			}
			if by := got.header.Get("X-LLM-Provider"); by != test.want {
				t.Errorf("got an answer by %q, want %q: %s", by, test.want, got.body)
			}
			const nobody = "big: it is only for requests that need it to take images; to take every request, a model needs a target without `when`; " +
				"what can take this request here: small/m"
			if test.want == "" && (got.status != 400 || got.message() != nobody) {
				t.Errorf("got  %d %s\nwant 400 %s", got.status, got.message(), nobody)
			}
		})
	}
}
