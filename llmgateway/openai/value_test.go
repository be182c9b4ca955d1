package openai

import (
	"slices"
	"testing"
)

func TestValueWalksObjectsAndLists(t *testing.T) {
	v, err := ParseObject([]byte(" {\"a\" : 1, \"b\\u0063\":[ 1 , \"x\" ,{}], \"a\":\"\\\"q\\\"\\n\", \"n\":null, \"t\":true} "))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range v.Members() {
		names = append(names, name)
	}
	if want := []string{"a", "bc", "a", "n", "t"}; !slices.Equal(names, want) {
		t.Errorf("got members %q, want %q", names, want)
	}
	var elements []string
	for element := range v.Get("bc").Elements() {
		elements = append(elements, string(element))
	}
	if want := []string{"1", `"x"`, "{}"}; !slices.Equal(elements, want) {
		t.Errorf("got elements %q, want %q", elements, want)
	}
	picked := v.Pick("a", "n", "missing", "t")
	if got := picked[0].Text(); got != "\"q\"\n" || string(picked[0].Inner()) != `\"q\"\n` {
		t.Errorf("got %q, written as %q", got, picked[0].Inner())
	}
	if picked[1] != nil || picked[2] != nil || !picked[3].IsTrue() {
		t.Errorf("got %q", picked)
	}
	for range v.Get("a").Elements() {
		t.Error("a text has elements")
	}
	for range Value(nil).Members() {
		t.Error("nothing has members")
	}
}

func TestOnlyAnObjectIsABody(t *testing.T) {
	for _, body := range []string{"", "[]", `{"a":1`, `{"a":1}x`, `"a"`} {
		if v, err := ParseObject([]byte(body)); err == nil {
			t.Errorf("%q: got %s", body, v)
		}
	}
}
