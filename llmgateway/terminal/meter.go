package terminal

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Meter shows how far something is that takes long: on a terminal as a line that changes, elsewhere as a line every ten
// seconds. It is not for concurrent use.
type Meter struct {
	W io.Writer
	// Live is true if W is a terminal.
	Live bool

	what    string
	began   time.Time // of what
	first   int64     // done when it began
	written time.Time
	width   int // of the line that stands there
	now     func() time.Time
}

const (
	liveEvery  = 200 * time.Millisecond
	plainEvery = 10 * time.Second
)

// Show shows that done of total bytes are done of what.
func (m *Meter) Show(what string, done, total int64) {
	now := time.Now()
	if m.now != nil {
		now = m.now()
	}
	every := plainEvery
	if m.Live {
		every = liveEvery
	}
	if what != m.what {
		m.Clear()
		m.what, m.began, m.first, m.written = what, now, done, time.Time{}
		if !m.Live {
			m.written = now // what takes less than ten seconds needs no line
		}
	}
	if now.Sub(m.written) < every {
		return
	}
	m.written = now
	line := m.line(now, done, total)
	if !m.Live {
		fmt.Fprintln(m.W, line)
		return
	}
	width := utf8.RuneCountInString(line)
	line += strings.Repeat(" ", max(m.width-width, 0))
	m.width = width
	fmt.Fprint(m.W, "\r"+line)
}

// columns is how long a live line may be: one that wraps cannot be written over.
const columns = 79

func (m *Meter) line(now time.Time, done, total int64) string {
	line := fmt.Sprintf(": %s of %s", Bytes(done), Bytes(total))
	if total > 0 {
		line += fmt.Sprintf(" (%d%%)", int64(float64(done)/float64(total)*100))
	}
	if passed := now.Sub(m.began); passed >= time.Second && done > m.first {
		speed := float64(done-m.first) / passed.Seconds()
		line += fmt.Sprintf(", %s/s", Bytes(int64(speed)))
		if left := float64(total-done) / speed; left >= 1 {
			line += ", " + Duration(time.Duration(min(left, 1e9)*float64(time.Second))) + " left"
		}
	}
	what := []rune(Line(m.what))
	if room := columns - len(line); m.Live && len(what) > room {
		half := max(room-1, 2) / 2
		what = slices.Concat(what[:half], []rune{'…'}, what[len(what)-half:])
	}
	return string(what) + line
}

// Clear takes the line away, so that something else can be written.
func (m *Meter) Clear() {
	if m.width > 0 {
		fmt.Fprint(m.W, "\r"+strings.Repeat(" ", m.width)+"\r")
		m.width = 0
	}
}

// Is reports whether f is a terminal, as far as the kind of file tells.
func Is(f *os.File) bool {
	stat, err := f.Stat()
	if err != nil || stat.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(stat, null)
}
