package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxSize is the longest file that is read. The seed's has 700 bytes.
const maxSize = 1 << 20

// Parse reads a config.yaml. lookup returns the values of variables that must be known at once, as os.LookupEnv does. What is
// wrong is returned as [Errors], all that was found.
func Parse(file []byte, lookup func(name string) (string, bool)) (*Settings, error) {
	root, err := document(file)
	if err != nil {
		return nil, Errors{err}
	}
	s := &Settings{at: make(positions)}
	s.Server.setDefaults()
	s.AutoPick.setDefaults()
	d := &decoder{variables: lookup, at: s.at}
	d.decode(root, "", reflect.ValueOf(s).Elem())
	s.check(d)
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	return s, nil
}

// Warnings returns what the owner of a file should know though nothing is wrong with it.
func (s *Settings) Warnings() []*Problem {
	if s.Server.Loopback() || len(s.Clients) > 0 {
		return nil
	}
	message := fmt.Sprintf("server.host: whoever reaches port %d at %s can use the models, and the providers' keys with them, without a key of their own; keep that network private, listen on 127.0.0.1, or give clients keys with the section clients",
		s.Server.Port, s.Server.Host)
	return []*Problem{s.Problem(message, &s.Server.Host, &s.Server)}
}

// Problem returns a problem with the first of the settings, given by their addresses, that stands in the file.
func (s *Settings) Problem(message string, settings ...any) *Problem {
	n := s.where(settings...)
	return &Problem{max(n.Line, 1), max(n.Column, 1), message}
}

// where returns the node of the first of some settings that stands in the file.
func (s *Settings) where(settings ...any) *yaml.Node {
	for _, setting := range settings {
		if n := s.at[setting]; n != nil {
			return n
		}
	}
	return &yaml.Node{}
}

// document parses the one document of a file.
func document(file []byte) (*yaml.Node, *Problem) {
	if len(file) > maxSize {
		return nil, &Problem{1, 1, "the file is larger than 1 MiB; this cannot be a configuration"}
	}
	if err := readable(file); err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(file))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, &Problem{1, 1, "the file is empty; it needs at least a provider"}
	} else if err != nil {
		return nil, syntaxProblem(file, err)
	}
	if err := dec.Decode(&second); err == nil {
		return nil, &Problem{max(second.Line, 1), max(second.Column, 1), "a second document begins here; there may be but one"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxProblem(file, err)
	}
	if len(doc.Content) == 0 || empty(doc.Content[0]) {
		return nil, &Problem{1, 1, "the file is empty; it needs at least a provider"}
	}
	return doc.Content[0], nil
}

// readable finds what no YAML may hold, since the parser does not tell where it is.
func readable(file []byte) *Problem {
	line, column := 1, 1
	for rest := file; len(rest) > 0; column++ {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			return &Problem{line, column, "this is not UTF-8"}
		case r == '\n':
			line, column = line+1, 0
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			return &Problem{line, column, "there is a control character"}
		}
		rest = rest[size:]
	}
	return nil
}

var (
	lineOf   = regexp.MustCompile(`^yaml: line (\d+): `)
	anchorOf = regexp.MustCompile(`unknown anchor '([^']*)'`)
)

// syntaxProblem says where the parser failed. The column is that of the line's text.
func syntaxProblem(file []byte, err error) *Problem {
	line, message := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = strings.TrimPrefix(err.Error(), m[0])
	} else if m := anchorOf.FindStringSubmatch(message); m != nil {
		if before, _, ok := bytes.Cut(file, []byte("*"+m[1])); ok {
			return &Problem{1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n'), "this is not YAML: " + message}
		}
	}
	lines := bytes.SplitAfter(file, []byte("\n"))
	line = min(max(wrongLine(lines, line), 1), len(lines))
	text := lines[line-1]
	column := 1 + len(text) - len(bytes.TrimLeft(text, " \t"))
	return &Problem{line, column, "this is not YAML: " + message}
}

// wrongLine returns the line behind the longest beginning of a file that is YAML. The parser tells where the list or the mapping
// begins that it could not finish, which may be far from what is wrong in it. Of a long file this must do.
func wrongLine(lines [][]byte, told int) int {
	if len(lines) > 300 {
		return told
	}
	for n := len(lines) - 1; n > 0; n-- {
		if yaml.Unmarshal(bytes.Join(lines[:n], nil), new(yaml.Node)) == nil {
			return n + 1
		}
	}
	return 1
}
