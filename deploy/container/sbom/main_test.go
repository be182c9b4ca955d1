package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestListsTheModulesOfAProgram lists those of the test itself, whose module has none but Go's own.
func TestListsTheModulesOfAProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := run(w, self, []string{"llmgateway", "1.2.3", "llama.cpp", "v0.5.0"}); err != nil {
			t.Fatal(err)
		}
	}
	if first.String() != second.String() {
		t.Error("the same program gives another bill")
	}
	var doc document
	if err := json.Unmarshal(first.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Format != "CycloneDX" || doc.SpecVersion == "" || doc.Metadata.Component.Name != "llmgateway" || doc.Metadata.Component.Version != "1.2.3" {
		t.Errorf("got %+v", doc)
	}
	if len(doc.Components) < 2 || doc.Components[0].PURL != "pkg:generic/llama.cpp@v0.5.0" || !strings.HasPrefix(doc.Components[1].PURL, "pkg:golang/std@1.") {
		t.Errorf("got %+v", doc.Components)
	}
}

func TestRefusesWhatIsNoGoProgram(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, "main.go", []string{"llmgateway", "1"}); err == nil || !strings.Contains(err.Error(), "main.go") {
		t.Errorf("got %v", err)
	}
	if err := run(&out, "", []string{"llmgateway"}); err == nil {
		t.Error("a name without a version is taken")
	}
	if out.Len() > 0 {
		t.Errorf("it prints %s", out.String())
	}
}
