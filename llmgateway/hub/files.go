package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// File is a file in a repository.
type File struct {
	// Path is its path in the repository; it leads nowhere else.
	Path      string
	SizeBytes int64
	// SHA256 is its checksum in hexadecimal, or empty if the hub tells none.
	SHA256 string
}

const maxFileBytes = 1 << 50

// Files lists a repository's files.
func (c *Client) Files(ctx context.Context, r Reference) ([]File, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	files, err := c.tree(ctx, r)
	if status, ok := errors.AsType[*StatusError](err); ok {
		switch status.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			// A mirror may know the older way only.
			if older, olderErr := c.siblings(ctx, r); olderErr == nil {
				files, err = older, nil
			}
		}
	}
	if err != nil {
		return nil, c.explain(r, err)
	}
	for _, f := range files {
		if err := checkPath(f.Path); isGGUF(f.Path) && err != nil {
			return nil, err
		}
		if f.SizeBytes < 0 || f.SizeBytes > maxFileBytes {
			return nil, fmt.Errorf("%s cannot have %d bytes", f.Path, f.SizeBytes)
		}
	}
	return files, nil
}

// api returns the URL of a call; the parts of its path are escaped.
func (c *Client) api(r Reference, more ...string) *url.URL {
	parts := append([]string{"api", "models"}, strings.Split(r.Repo, "/")...)
	for _, part := range more {
		parts = append(parts, url.PathEscape(part))
	}
	return c.Endpoint.JoinPath(parts...)
}

const maxPages = 100

// tree asks for the files in the way that tells checksums. A long list comes in pages.
func (c *Client) tree(ctx context.Context, r Reference) ([]File, error) {
	u := c.api(r, "tree", r.Revision)
	u.RawQuery = "recursive=true"
	var files []File
	for range maxPages {
		var page []struct {
			Type, Path string
			Size       int64
			LFS        *struct {
				OID  string
				Size int64
			}
		}
		header, err := c.getJSON(ctx, u, &page)
		if err != nil {
			return nil, err
		}
		for _, entry := range page {
			if entry.Type != "file" {
				continue
			}
			f := File{Path: entry.Path, SizeBytes: entry.Size}
			if entry.LFS != nil {
				f.SizeBytes, f.SHA256 = entry.LFS.Size, checksum(entry.LFS.OID)
			}
			files = append(files, f)
		}
		next := nextPage.FindStringSubmatch(header.Get("Link"))
		if next == nil {
			return files, nil
		}
		if u, err = u.Parse(next[1]); err != nil || !c.isHub(u) {
			return nil, errors.New("the hub's list of files goes on at another place; refused")
		}
	}
	return nil, fmt.Errorf("the repository has too many files")
}

var nextPage = regexp.MustCompile(`<([^>]*)>\s*;\s*rel="next"`)

// siblings asks for the files in the older way.
func (c *Client) siblings(ctx context.Context, r Reference) ([]File, error) {
	u := c.api(r)
	if r.Revision != DefaultRevision {
		u = c.api(r, "revision", r.Revision)
	}
	u.RawQuery = "blobs=true"
	var answer struct {
		Siblings []struct {
			RFilename string
			Size      int64
			LFS       *struct{ SHA256 string }
		}
	}
	if _, err := c.getJSON(ctx, u, &answer); err != nil {
		return nil, err
	}
	var files []File
	for _, s := range answer.Siblings {
		f := File{Path: s.RFilename, SizeBytes: s.Size}
		if s.LFS != nil {
			f.SHA256 = checksum(s.LFS.SHA256)
		}
		files = append(files, f)
	}
	return files, nil
}

// checksum returns s if it is a SHA-256 in hexadecimal.
func checksum(s string) string {
	s = strings.ToLower(strings.TrimPrefix(strings.Trim(s, `"`), "sha256:"))
	if !hexSHA256.MatchString(s) {
		return ""
	}
	return s
}

var hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// explain says what to do about an error, where something can be done.
func (c *Client) explain(r Reference, err error) error {
	status, ok := errors.AsType[*StatusError](err)
	if !ok || status.Host != c.Endpoint.Host {
		return err
	}
	page := c.Endpoint.JoinPath(r.Repo)
	switch {
	case status.Status != http.StatusUnauthorized && status.Status != http.StatusForbidden && status.Status != http.StatusNotFound:
		return err
	case status.Status == http.StatusNotFound:
		return fmt.Errorf("there is no %s in revision %s: %w", r.Repo, r.Revision, err)
	case c.Token == "":
		return fmt.Errorf("%s does not exist, or is not for everybody; if it is gated, accept its licence at %s and set HF_TOKEN to an access token of yours (%s): %w",
			r.Repo, page, c.Endpoint.JoinPath("settings/tokens"), err)
	default:
		return fmt.Errorf("the access token in HF_TOKEN does not open %s; accept its licence at %s with the same account, and let the token read it (%s): %w",
			r.Repo, page, c.Endpoint.JoinPath("settings/tokens"), err)
	}
}
