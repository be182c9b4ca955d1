// Package docs checks what the documents promise, as far as reading can tell.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = ".."

// TestLinksLeadSomewhere checks the links from document to file. Links to other sites are not followed.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	for path, text := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(match[1], ":") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), match[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

// TestMakeTargetsExist checks that the Makefile knows every target that a document tells its reader to make.
func TestMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(makefile), -1) {
		targets[match[1]] = true
	}

	// In a line of code of its own, which may set variables first, or within a sentence.
	command := regexp.MustCompile("(?m)(?:^(?:[A-Z_]+=\\S+ )*|`)make ([a-z-]+)(?:`|$| [A-Z]+=| *#)")
	found := 0
	for path, text := range documents(t) {
		for _, match := range command.FindAllStringSubmatch(text, -1) {
			found++
			if !targets[match[1]] {
				t.Errorf("%s: the Makefile has no target %q", path, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("no document mentions a target")
	}
}

// documents returns the Markdown files of the repository by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git" || entry.Name() == "bin"):
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A block is a fenced one of a document.
type block struct{ language, text string }

var fenced = regexp.MustCompile("(?ms)^( *)```(\\w*)\n(.*?)^ *```$")

// blocks returns the fenced blocks of a document, without the indent of a list that they are in.
func blocks(document string) []block {
	var all []block
	for _, match := range fenced.FindAllStringSubmatch(document, -1) {
		text := regexp.MustCompile("(?m)^"+match[1]).ReplaceAllString(match[3], "")
		all = append(all, block{match[2], text})
	}
	return all
}
