package openai

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestModelsAreTheModelAndThenTheList(t *testing.T) {
	many := ""
	for i := range maxModels {
		many += fmt.Sprintf(`,"x%d"`, i)
	}
	for _, test := range []struct {
		name, member string
		want         []string
		ok           bool
	}{
		{"no list", ``, []string{"m"}, true},
		{"null", `,"models":null`, []string{"m"}, true},
		{"an empty list", `,"models":[]`, []string{"m"}, true},
		{"a list", `,"models":["a/b","c"]`, []string{"m", "a/b", "c"}, true},
		{"the model and one twice", `,"models":["a","m","a"]`, []string{"m", "a"}, true},
		{"escapes", `,"models":["\u0061\/b"]`, []string{"m", "a/b"}, true},
		{"the last of two lists", `,"models":["a"],"models":["b"]`, []string{"m", "b"}, true},
		{"no list but a name", `,"models":"a"`, nil, false},
		{"a number", `,"models":[1]`, nil, false},
		{"an empty name", `,"models":[""]`, nil, false},
		{"too many", `,"models":[` + many[1:] + `]`, nil, false},
		{"too long", `,"models":["` + strings.Repeat("a", maxModelsBytes) + `"]`, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Read(llmgateway.Chat, llmgateway.NewBody([]byte(`{"model":"m"`+test.member+`}`)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Models(r)
			if !slices.Equal(got, test.want) || (err == nil) != test.ok {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
			if err != nil && llmgateway.AsError(err).Param != "models" {
				t.Errorf("the error is about %q", llmgateway.AsError(err).Param)
			}
		})
	}
}
