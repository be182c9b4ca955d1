package inspect

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/terminal"
)

// Write writes all that is known of the model for people to read.
func (m *Model) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, terminal.Line(fmt.Sprintf(format, args...)))
	}
	number := func(name string, n uint64, unit string) {
		if n > 0 {
			row(name, "%d%s", n, unit)
		}
	}
	size := terminal.Bytes(m.SizeBytes)
	if m.Files > 1 {
		size += fmt.Sprintf(" in %d files", m.Files)
	}
	row("file", "%s (%s)", m.Path, size)
	if m.Kind != "" && m.Kind != kindModel {
		row("kind", "%s", m.Kind)
	}
	if m.Problem != "" {
		row("problem", "%s", m.Problem)
	}
	if m.Architecture != "" || m.Problem == "" {
		if m.Title != "" {
			row("title", "%s", m.Title)
		}
		row("architecture", "%s", orUnknown(m.Architecture))
		row("parameters", "%s", terminal.Count(m.Parameters))
		row("quantization", "%s", orUnknown(m.Quantization))
		number("context", m.Context, " tokens")
		number("layers", m.Layers, "")
		if len(m.Heads) > 0 {
			row("heads", "%s, of keys and values %s", span(m.Heads), span(m.HeadsKV))
		}
		number("embedding", m.Embedding, " numbers")
		number("experts", m.Experts, "")
		number("window", m.SlidingWindow, " tokens in some layers")
		if m.Vocabulary > 0 || m.Tokenizer != "" {
			row("vocabulary", "%d tokens, tokenizer %s", m.Vocabulary, orUnknown(m.Tokenizer))
		}
		row("chat template", "%s", m.template())
		if m.Projector != "" {
			row("images", "with %s", filepath.Base(m.Projector))
		}
		for i, group := range m.Tensors {
			name := ""
			if i == 0 {
				name = "tensors"
			}
			row(name, "%d %s, %s", group.Count, group.Type, terminal.Bytes(group.SizeBytes))
		}
	}
	if e := m.Memory; e != nil {
		row("memory", "about %s with n_ctx %d and n_parallel %d", terminal.Bytes(e.Total), e.NCtx, e.NParallel)
		for _, part := range []struct {
			name string
			n    uint64
		}{
			{"weights", e.Weights},
			{"weights rearranged for the CPU", e.Copies},
			{"KV cache", e.KV},
			{"checkpoints", e.Checkpoints},
			{"computing", e.Compute},
			{"output", e.Output},
			{"projector", e.Projector},
			{"prompt cache", e.PromptCache},
			{"the rest", e.Overhead},
		} {
			if part.n > 0 {
				row("", "%s %s", terminal.Bytes(part.n), part.name)
			}
		}
	}
	return t.Flush()
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// span writes a number that may differ from layer to layer.
func span(n []uint64) string {
	if len(n) == 0 {
		return "unknown"
	}
	low, high := slices.Min(n), slices.Max(n)
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d to %d, by layer", low, high)
}

func (m *Model) template() string {
	switch {
	case m.Tools:
		return "yes, knows tools"
	case m.ChatTemplate:
		return "yes, without tools"
	default:
		return "none"
	}
}

// Entry is a row of a list of models.
type Entry struct {
	*Model
	// Provider is the provider of a configuration that runs the model.
	Provider string `json:"provider,omitempty"`
	// State is what a running gateway says of the model; empty if there is no gateway, or it does not know the model.
	State string `json:"state,omitempty"`
}

// List writes a table. What is empty in all entries gets no column.
func List(w io.Writer, entries []Entry) error {
	columns := []struct {
		head string
		cell func(Entry) string
	}{
		{"NAME", func(e Entry) string { return e.Name }},
		{"PROVIDER", func(e Entry) string { return e.Provider }},
		{"SIZE", func(e Entry) string { return terminal.Bytes(e.SizeBytes) }},
		{"ARCHITECTURE", func(e Entry) string { return e.Architecture }},
		{"PARAMETERS", func(e Entry) string { return positive(e.Parameters, terminal.Count) }},
		{"QUANTIZATION", func(e Entry) string { return e.Quantization }},
		{"CONTEXT", func(e Entry) string { return positive(e.Context, func(n uint64) string { return fmt.Sprint(n) }) }},
		{"CAN", func(e Entry) string { return e.abilities() }},
		{"MEMORY", func(e Entry) string { return e.estimate() }},
		{"STATE", func(e Entry) string { return e.State }},
		{"PROBLEM", func(e Entry) string { return e.Problem }},
	}
	columns = slices.DeleteFunc(columns, func(column struct {
		head string
		cell func(Entry) string
	},
	) bool {
		return !slices.ContainsFunc(entries, func(e Entry) bool { return column.cell(e) != "" })
	})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, column := range columns {
		fmt.Fprint(t, column.head, end(i, len(columns)))
	}
	for _, e := range entries {
		for i, column := range columns {
			cell := terminal.Line(column.cell(e))
			if cell == "" && i < len(columns)-1 {
				cell = "-"
			}
			fmt.Fprint(t, cell, end(i, len(columns)))
		}
	}
	return t.Flush()
}

func end(i, n int) string {
	if i == n-1 {
		return "\n"
	}
	return "\t"
}

func positive(n uint64, write func(uint64) string) string {
	if n == 0 {
		return ""
	}
	return write(n)
}

// abilities says what the model can do besides answering.
func (m *Model) abilities() string {
	var can []string
	if m.Kind != "" && m.Kind != kindModel {
		can = append(can, "("+m.Kind+")")
	}
	if m.Vision {
		can = append(can, "images")
	}
	if m.Tools {
		can = append(can, "tools")
	}
	return strings.Join(can, ", ")
}

func (m *Model) estimate() string {
	if m.Memory == nil {
		return ""
	}
	return fmt.Sprintf("%s at %d", terminal.Bytes(m.Memory.Total), m.Memory.NCtx*m.Memory.NParallel)
}
