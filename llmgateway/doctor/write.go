package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/terminal"
)

// Write writes the report for people to read: a line for each finding, with the advice below it, and the sum at the end.
func (r Report) Write(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		what := f.Area
		if f.Subject != "" {
			what += " " + f.Subject
		}
		fmt.Fprintf(&b, "%-8s %s: %s\n", f.Verdict, terminal.Line(what), terminal.Line(f.Detail))
		if f.Advice != "" {
			fmt.Fprintf(&b, "         %s\n", terminal.Line(f.Advice))
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d warnings, %d failures\n", r.Count(OK), r.Count(Warning), r.Count(Failure))
	_, err := io.WriteString(w, b.String())
	return err
}
