package hub

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// Reference names files of a repository on the hub.
type Reference struct {
	// Repo is owner/name.
	Repo string
	// Revision is a branch, a tag or a commit.
	Revision string
	// Want is a file's path or name, or a quantization such as Q4_K_M, or empty.
	Want string
}

// DefaultRevision is the branch that is meant where none is named.
const DefaultRevision = "main"

// ParseReference reads REPO, REPO:FILE or REPO:QUANT, as in Qwen/Qwen2.5-0.5B-Instruct-GGUF:q4_k_m. The addresses of
// repositories at huggingface.co will do, too.
func ParseReference(s string) (Reference, error) {
	for _, prefix := range []string{"https://huggingface.co/", "huggingface.co/", "hf.co/"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			s = strings.TrimSuffix(rest, "/")
			break
		}
	}
	r := Reference{Revision: DefaultRevision}
	var named bool
	r.Repo, r.Want, named = strings.Cut(s, ":")
	switch {
	case named && r.Want == "":
		return r, fmt.Errorf("%q names no file behind the colon", s)
	case r.Want != "" && !isQuant(r.Want):
		if err := checkPath(r.Want); err != nil {
			return r, err
		}
	}
	return r, r.Validate()
}

// Validate reports what is wrong with the names. What is valid can be part of a URL.
func (r Reference) Validate() error {
	if !repoName.MatchString(r.Repo) || strings.Contains(r.Repo, "..") || strings.Contains(r.Repo, "--") {
		return fmt.Errorf("%q is no name of a repository; it looks like Qwen/Qwen2.5-0.5B-Instruct-GGUF", r.Repo)
	}
	if !revisionName.MatchString(r.Revision) || strings.Contains(r.Revision, "..") || strings.Contains(r.Revision, "//") {
		return fmt.Errorf("%q is no name of a revision; it is a branch, a tag or a commit", r.Revision)
	}
	return nil
}

// The hub's own rules, see https://huggingface.co/docs/huggingface_hub/package_reference/utilities#huggingface_hub.utils.validate_repo_id.
var (
	repoName     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$`)
	revisionName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$`)
)

// checkPath refuses paths that could lead out of a folder. The hub has none; a server that answers in its name might.
func checkPath(name string) error {
	bad := name == "" || len(name) > 1000 || path.IsAbs(name) || path.Clean(name) != name || name == "." || name == ".." ||
		strings.HasPrefix(name, "../") || strings.ContainsAny(name, `\:`) || strings.ContainsFunc(name, unicode.IsControl) ||
		strings.HasPrefix(path.Base(name), ".")
	if bad {
		return fmt.Errorf("the file name %q is refused: it is no plain path in a repository", name)
	}
	return nil
}
