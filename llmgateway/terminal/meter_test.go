package terminal

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestMeterTellsSpeedAndTimeLeft(t *testing.T) {
	now := time.Unix(1000, 0)
	var out strings.Builder
	m := Meter{W: &out, Live: true, now: func() time.Time { return now }}
	const mib = 1 << 20
	m.Show("a\x1b.gguf", 100*mib, 1000*mib) // what was there before is not fast
	now = now.Add(10 * time.Second)
	m.Show("a\x1b.gguf", 200*mib, 1000*mib)
	if want := `a\x1b.gguf: 200 MiB of 0.98 GiB (20%), 10.0 MiB/s, 1m 20s left`; !strings.HasSuffix(out.String(), "\r"+want) {
		t.Errorf("got %q, want %q at the end", out.String(), want)
	}
	before := out.Len()
	now = now.Add(10 * time.Millisecond)
	if m.Show("a\x1b.gguf", 201*mib, 1000*mib); out.Len() != before {
		t.Error("it is shown too often")
	}
	now = now.Add(time.Second)
	m.Show("downloading a-model-with-a-name-that-is-far-too-long-for-a-line-00001-of-00002.gguf", 1, 2)
	if want := "\rdownloading a-model-with-a-nam…for-a-line-00001-of-00002.gguf: 1 B of 2 B (50%)"; !strings.Contains(out.String(), want) {
		t.Errorf("got %q", out.String())
	}
	m.Show("b", 0, 0)
	if !strings.HasSuffix(out.String(), " \r\rb: 0 B of 0 B") {
		t.Errorf("got %q", out.String())
	}
	m.Clear()
	if !strings.HasSuffix(out.String(), " \r") {
		t.Errorf("got %q", out.String())
	}
}

func TestMeterWritesFewLinesIntoAFile(t *testing.T) {
	now := time.Unix(1000, 0)
	var out strings.Builder
	m := Meter{W: &out, now: func() time.Time { return now }}
	for second := range int64(35) {
		m.Show("a", second, 100)
		now = now.Add(time.Second)
	}
	m.Clear()
	if got := strings.Count(out.String(), "\n"); got != 3 || strings.Contains(out.String(), "\r") {
		t.Errorf("got %q", out.String())
	}
}

func TestNeitherFilesNorNothingAreTerminals(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(t.TempDir() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if Is(null) || Is(file) {
		t.Error("they are")
	}
}
