package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is something in a file that is wrong, or that its owner should know. It quotes no secret.
type Problem struct {
	// Line and Column say where, both from 1.
	Line, Column int
	// Message says what is wrong and what to do.
	Message string
}

// String returns it as compilers do: the place, then the message.
func (p *Problem) String() string { return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Message) }

// Errors are all problems of a file that cannot be used, in its order.
type Errors []*Problem

// Error implements error. Each problem has a line of its own.
func (ps Errors) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted returns them in the order of the file, without repetition.
func (ps Errors) sorted() Errors {
	slices.SortStableFunc(ps, func(a, b *Problem) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column, cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(ps, func(a, b *Problem) bool { return *a == *b })
}

// nearest returns the known name that is most like a wrong one, or "" if none is like it.
func nearest(wrong string, known []string) string {
	best, least := "", 1+max(1, len(wrong)/3)
	if len(wrong) > 64 {
		return ""
	}
	for _, name := range known {
		if d := distance(wrong, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance returns how many letters must be added, removed, exchanged or swapped with their neighbor to make b of a.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
