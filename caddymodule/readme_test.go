package caddymodule

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the Caddyfile reference into README.md")

func TestReadmeQuotesTheCaddyfileSyntax(t *testing.T) {
	file := filepath.Join(repository, "README.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	for _, block := range []struct{ name, source, receiver string }{
		{"llm", "caddyfile.go", "Handler"},
		{"llamacpp", "llamacpp_caddyfile.go", "LlamaCPP"},
		{"command", "program.go", "Command"},
		{"memory", "caches.go", "MemoryCache"},
		{"redis", "caches.go", "RedisCache"},
		{"bytebot", "bytebot_caddyfile.go", "Bytebot"},
		{"llm_bytebot_models", "bytebot_models.go", "BytebotModels"},
		{"llm_limit", "limit_caddyfile.go", "Limit"},
		{"llm_auth", "auth_caddyfile.go", "Auth"},
		{"llm_lockout", "lockout_caddyfile.go", "Lockout"},
		{"global", "app.go", "App"},
	} {
		begin, end := "<!-- "+block.name+" syntax -->\n", "<!-- /"+block.name+" syntax -->"
		before, rest, ok := strings.Cut(readme, begin)
		if !ok {
			t.Fatalf("README.md has no %s", begin)
		}
		got, after, ok := strings.Cut(rest, end)
		if !ok {
			t.Fatalf("README.md has no %s", end)
		}
		want := "\n```\n" + syntax(t, block.source, block.receiver) + "```\n\n"
		if got != want && !*update {
			t.Errorf("README.md: the syntax of %s is not that of %s; run `make generate`", block.name, block.source)
		}
		readme = before + begin + want + end + after
	}
	if *update {
		if err := os.WriteFile(file, []byte(readme), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// syntax returns the indented part of the doc comment of a type's UnmarshalCaddyfile.
func syntax(t *testing.T, source, receiver string) string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Name.Name != "UnmarshalCaddyfile" || f.Recv == nil {
			continue
		}
		if star, ok := f.Recv.List[0].Type.(*ast.StarExpr); !ok || star.X.(*ast.Ident).Name != receiver {
			continue
		}
		var lines strings.Builder
		for line := range strings.Lines(f.Doc.Text()) {
			switch code, indented := strings.CutPrefix(line, "\t"); {
			case indented:
				lines.WriteString(code)
			case line == "\n" && lines.Len() > 0:
				lines.WriteString(line)
			}
		}
		return lines.String()
	}
	t.Fatalf("%s has no UnmarshalCaddyfile of %s", source, receiver)
	return ""
}
