package llmgateway

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadBodyReadsToTheEnd(t *testing.T) {
	sizes := []int{0, 1, minRead - 1, minRead, minRead + 1, 64 << 10, maxUpfront - 1, maxUpfront, maxUpfront + 1, 3 << 20}
	for _, size := range sizes {
		want := pattern(size, 7)
		for name, length := range map[string]int64{
			"announced": int64(size), "chunked": -1, "too small": int64(size / 2), "too large": int64(2*size + 1),
		} {
			for reader, wrap := range map[string]func(io.Reader) io.Reader{
				"at once":              func(r io.Reader) io.Reader { return r },
				"end with the data":    iotest.DataErrReader,
				"half of what it may":  iotest.HalfReader,
				"nothing now and then": func(r io.Reader) io.Reader { return &hesitantReader{r: r} },
			} {
				body, err := ReadBody(wrap(bytes.NewReader(want)), length, 1<<30)
				if err != nil {
					t.Fatalf("%d bytes, %s, %s: %v", size, name, reader, err)
				}
				if !bytes.Equal(body.Bytes, want) {
					t.Errorf("%d bytes, %s, %s: got %d other bytes", size, name, reader, len(body.Bytes))
				}
				body.Release()
			}
		}
	}
}

func TestReadBodyKeepsItsLimit(t *testing.T) {
	const limit = 10_000
	tests := []struct {
		name   string
		size   int
		length int64
		ok     bool
	}{
		{"just as much", limit, limit, true},
		{"just as much, chunked", limit, -1, true},
		{"one more", limit + 1, limit + 1, false},
		{"one more, chunked", limit + 1, -1, false},
		{"more than announced", limit + 1, 10, false},
		{"much more, chunked", 100 * limit, -1, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &countingReader{r: bytes.NewReader(pattern(test.size, 1))}
			body, err := ReadBody(r, test.length, limit)
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				body.Release()
				return
			}
			if !errors.Is(err, ErrBodyTooLarge) {
				t.Errorf("got %v, want ErrBodyTooLarge", err)
			}
			// It may read what its buffer holds, but it does not go on to the end.
			if r.n > 4*limit {
				t.Errorf("read %d bytes of a body that may have %d", r.n, limit)
			}
		})
	}
}

func TestReadBodyDoesNotReadWhatIsAnnouncedTooLarge(t *testing.T) {
	r := &countingReader{r: strings.NewReader("x")}
	if _, err := ReadBody(r, 1<<40, 1<<20); !errors.Is(err, ErrBodyTooLarge) {
		t.Errorf("got %v, want ErrBodyTooLarge", err)
	}
	if r.n != 0 {
		t.Errorf("read %d bytes", r.n)
	}
}

// TestReadBodyBelievesNoAnnouncement keeps clients that send nothing from taking memory.
func TestReadBodyBelievesNoAnnouncement(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const bodies = 8
	for range bodies {
		body, err := ReadBody(strings.NewReader("{"), 1<<30, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if got := cap(body.Bytes); got > 2*maxUpfront {
			t.Fatalf("set aside %d bytes for one", got)
		}
		// Not released, so that every body takes its own memory.
	}
	runtime.ReadMemStats(&after)
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(bodies*2*maxUpfront); got > most {
		t.Errorf("allocated %d bytes, want at most %d", got, most)
	}
}

func TestReadBodyPassesErrorsUnchanged(t *testing.T) {
	broken := errors.New("broken")
	for name, length := range map[string]int64{"announced": 100, "chunked": -1} {
		r := io.MultiReader(strings.NewReader("some"), iotest.ErrReader(broken))
		body, err := ReadBody(r, length, 1<<20)
		// The error itself, not one that wraps it: Caddy looks at the type.
		if err != broken {
			t.Errorf("%s: got %v, want the reader's own error", name, err)
		}
		if body != nil {
			t.Errorf("%s: got a body with an error", name)
		}
	}
}

func TestReadBodyCopiesALargeBodyFewTimes(t *testing.T) {
	const size = 20 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	body, err := ReadBody(io.LimitReader(zeros{}, size), size, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	defer body.Release()
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(3*size); got > most {
		t.Errorf("allocated %d bytes for a body of %d", got, size)
	}
}

func TestBodyKeepsItsBytesUntilTheLastRelease(t *testing.T) {
	body, err := ReadBody(strings.NewReader("hello"), 5, 100)
	if err != nil {
		t.Fatal(err)
	}
	body.Retain()
	body.Release()
	for seed := range 20 {
		other, err := ReadBody(bytes.NewReader(pattern(5, seed)), 5, 100)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Release()
	}
	if got := string(body.Bytes); got != "hello" {
		t.Errorf("got %q, want hello", got)
	}
	body.Release()
	if body.Bytes != nil {
		t.Error("the bytes can be reached after the last release")
	}
}

// TestBodyOfACallersBytesLeavesThemAlone covers sizes that the pools have.
func TestBodyOfACallersBytesLeavesThemAlone(t *testing.T) {
	for _, size := range []int{1 << minClassBits, 1 << 16, 100} {
		mine := pattern(size, 3)
		want := slices.Clone(mine)
		NewBody(mine).Release()
		for seed := range 10 {
			other, err := ReadBody(bytes.NewReader(pattern(size-1, 100+seed)), int64(size-1), 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Release()
		}
		if !bytes.Equal(mine, want) {
			t.Errorf("%d bytes of a caller were written to", size)
		}
	}
}

func TestPoolsHoldBuffersOfTheirSize(t *testing.T) {
	for size, want := range map[int]int{
		0: 0, 1: 0, 1 << minClassBits: 0, 1<<minClassBits + 1: 1, 1 << maxClassBits: len(pools) - 1, 1<<maxClassBits + 1: -1,
	} {
		if got := classOf(size); got != want {
			t.Errorf("size %d: got class %d, want %d", size, got, want)
		}
	}
	for class := range pools {
		size := 1 << (class + minClassBits)
		if got := cap(grab(size)); got != size {
			t.Errorf("grabbing %d bytes got %d", size, got)
		}
	}
}

// pattern returns size bytes that differ from seed to seed.
func pattern(size, seed int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*31 + i>>8 + seed*17)
	}
	return b
}

// hesitantReader returns nothing every other time.
type hesitantReader struct {
	r     io.Reader
	reads int
}

func (h *hesitantReader) Read(b []byte) (int, error) {
	if h.reads++; h.reads%2 == 1 {
		return 0, nil
	}
	return h.r.Read(b)
}

// countingReader counts what is read.
type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
