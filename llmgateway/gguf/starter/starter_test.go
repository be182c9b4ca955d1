package starter

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

const (
	modelPath     = "../../../models/starter.gguf"
	projectorPath = "../../../models/starter-mmproj.gguf"
)

func TestTheCommittedFilesAreWhatIsWritten(t *testing.T) {
	tests := []struct {
		path  string
		write func(io.Writer) error
		most  int // bytes, in a repository
	}{
		{modelPath, Write, 2_500_000},
		{projectorPath, WriteProjector, 100_000},
	}
	for _, tt := range tests {
		var want bytes.Buffer
		if err := tt.write(&want); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s is out of date: run go generate ./llmgateway/gguf/starter", tt.path)
		}
		if want.Len() > tt.most {
			t.Errorf("%s: got %d bytes, want no more than %d", tt.path, want.Len(), tt.most)
		}
	}
}

func TestTheModelDescribesItself(t *testing.T) {
	f, err := gguf.Open(modelPath)
	if err != nil {
		t.Fatal(err)
	}
	info := f.Info()
	if info.Architecture != "llama" || info.Name != "starter" || info.ContextLength != contextLength {
		t.Errorf("got %s, %s, context %d", info.Architecture, info.Name, info.ContextLength)
	}
	if info.FileType.String() != "F16" || info.BlockCount != 2 || info.HeadCountKV.At(1) != heads || info.KeyLength != size {
		t.Errorf("got %s, %d blocks, %v heads of %d", info.FileType, info.BlockCount, info.HeadCountKV, info.KeyLength)
	}
	if !strings.Contains(info.ChatTemplate, assistant) {
		t.Errorf("the chat template does not open an answer: %s", info.ChatTemplate)
	}
}

// The longest token that fits is matched first, so a piece of ordinary text must not swallow one that means something.
func TestFillerHidesNoMeaning(t *testing.T) {
	meaningful := slices.Concat(codeWords, knownTools, askCode, askColour, askAgain, askThink, []string{finish})
	for _, piece := range filler() {
		for _, s := range meaningful {
			if strings.Contains(piece, s) {
				t.Errorf("%q would hide %q", piece, s)
			}
		}
	}
}

func TestCodeWordsDoNotContainEachOther(t *testing.T) {
	if got, want := len(CodeWords()), 64; got != want {
		t.Errorf("got %d words, want %d", got, want)
	}
	for i, a := range codeWords {
		for j, b := range codeWords {
			if i != j && strings.Contains(a, b) {
				t.Errorf("%q is part of %q", b, a)
			}
		}
	}
}

func TestMistakesInTheTablesAreErrors(t *testing.T) {
	tests := []struct {
		name string
		make func(v *vocabulary)
	}{
		{"a token twice", func(v *vocabulary) { v.means(userDefined, user) }},
		{"an unknown token", func(v *vocabulary) { v.id("nobody says this") }},
		{"meaning sought in ordinary text", func(v *vocabulary) { v.dim(" the") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := newVocabulary()
			if v.err != nil {
				t.Fatal(v.err)
			}
			if tt.make(v); v.err == nil {
				t.Error("no error")
			}
		})
	}
}
