// Package terminal writes for people: texts of others without what a terminal would obey, sizes and times in short.
package terminal

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Line returns s for one line of a terminal. A model's name or a server's message may hold escape sequences, which would
// move the cursor, change the window's title or worse; they are written out instead of sent, as Go and JSON do.
func Line(s string) string { return clean(s, "") }

// Text is [Line] for texts of several lines: line feeds and tabs stay.
func Text(s string) string { return clean(s, "\n\t") }

func clean(s, allowed string) string {
	if !strings.ContainsFunc(s, unsafe) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && s[i] != "\uFFFD"[0]:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unsafe(r) || strings.ContainsRune(allowed, r):
			b.WriteRune(r)
		case r < 0x20:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// unsafe reports whether a terminal would act upon r, or show a text in another order than it has.
func unsafe(r rune) bool {
	return r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

// Bytes returns a size with three digits at most, such as 4.68 GiB.
func Bytes[N int | int64 | uint64](n N) string {
	return scaled(float64(n), 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}

// Count returns a number with three digits at most, such as 7.62 B for billions.
func Count(n uint64) string {
	return strings.TrimSpace(scaled(float64(n), 1000, []string{"", "K", "M", "B", "T", "P", "E"}))
}

func scaled(value, base float64, units []string) string {
	unit := 0
	for value >= 999.5 && unit < len(units)-1 {
		value /= base
		unit++
	}
	digits := 0
	if unit > 0 && value < 99.95 {
		digits = 1
		if value < 9.995 {
			digits = 2
		}
	}
	return fmt.Sprintf("%.*f %s", digits, value, units[unit])
}

// Duration returns a time that is left in two units at most, such as 1h 4m.
func Duration(d time.Duration) string {
	seconds := int(d.Round(time.Second) / time.Second)
	switch {
	case seconds < 60:
		return fmt.Sprintf("%ds", seconds)
	case seconds < 3600:
		return fmt.Sprintf("%dm %02ds", seconds/60, seconds%60)
	case seconds < 100*3600:
		return fmt.Sprintf("%dh %02dm", seconds/3600, seconds/60%60)
	default:
		return fmt.Sprintf("%d days", seconds/86400)
	}
}
