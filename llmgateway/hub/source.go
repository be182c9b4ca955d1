package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// source knows where a file's bytes are. The hub redirects to a server that has them, with an address that expires.
type source struct {
	client *Client
	ref    Reference
	file   File

	mu    sync.Mutex // guards what follows
	url   *url.URL
	etag  string // of a file without a checksum
	known bool   // the hub was asked before
}

// identity tells whether the file is still the one whose parts were fetched before.
func (s *source) identity() string {
	if s.file.SHA256 != "" {
		return s.file.SHA256
	}
	return "etag " + s.etag
}

// locate finds out where the bytes are, and whether the hub still means the same file.
func (s *source) locate(ctx context.Context) error {
	parts := strings.Split(s.ref.Repo, "/")
	parts = append(parts, "resolve", url.PathEscape(s.ref.Revision))
	for part := range strings.SplitSeq(s.file.Path, "/") {
		parts = append(parts, url.PathEscape(part))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*s.client.timing.stall, errStalled)
	defer cancel()
	u := s.client.Endpoint.JoinPath(parts...)
	header := http.Header{}
	for range maxRedirects {
		resp, err := s.ask(ctx, u) //nolint:bodyclose // it is closed already
		if err != nil {
			return err
		}
		for name, values := range resp.Header {
			if len(header[name]) == 0 { // the hub speaks first
				header[name] = values
			}
		}
		if !isRedirect(resp.StatusCode) {
			return s.found(u, header)
		}
		if u, err = s.client.target(u, resp); err != nil {
			return err
		}
		if !s.client.isHub(u) {
			return s.found(u, header)
		}
	}
	return fmt.Errorf("%s redirects in circles", u.Host)
}

// ask asks the hub about a file, without its bytes.
func (s *source) ask(ctx context.Context, u *url.URL) (*http.Response, error) {
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		header := http.Header{}
		if method == http.MethodGet {
			header.Set("Range", "bytes=0-0")
		}
		resp, err := s.client.send(ctx, method, u, header)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close() // which may be the whole file
		switch {
		case resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotImplemented:
			continue
		case resp.StatusCode >= 300 && !isRedirect(resp.StatusCode):
			f := statusError(resp)
			f.denied = false // the hub itself refuses: no other address will do
			return nil, f
		default:
			return resp, nil
		}
	}
	return nil, errors.New("the hub answers neither HEAD nor GET")
}

// found remembers an address.
func (s *source) found(u *url.URL, header http.Header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	linked := checksum(header.Get("X-Linked-Etag"))
	if !s.known && s.file.SHA256 == "" {
		s.file.SHA256 = linked // before anybody else looks at it
	}
	if linked != "" && s.file.SHA256 != "" && linked != s.file.SHA256 {
		return errChanged
	}
	if size, err := strconv.ParseInt(header.Get("X-Linked-Size"), 10, 64); err == nil && size != s.file.SizeBytes {
		return errChanged
	}
	s.known = true
	s.url = u
	if s.etag == "" {
		s.etag = header.Get("Etag")
	}
	return nil
}

var errChanged = errors.New("the file changed on the hub meanwhile; try again")

// where returns the address, found again if it is not known.
func (s *source) where(ctx context.Context) (*url.URL, error) {
	s.mu.Lock()
	u := s.url
	s.mu.Unlock()
	if u != nil {
		return u, nil
	}
	if err := s.locate(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url, nil
}

// expire forgets the address, if it is still the one that was refused.
func (s *source) expire(u *url.URL) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.url == u {
		s.url = nil
	}
}

// open asks for the bytes from begin up to end; the answer has exactly these, if it has as many as it should. With
// whole, it asks for all.
func (s *source) open(ctx context.Context, begin, end int64, whole bool) (*http.Response, error) {
	u, err := s.where(ctx)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if !whole {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", begin, end-1))
	}
	resp, err := s.client.follow(ctx, http.MethodGet, u, header)
	if err != nil {
		return nil, err
	}
	if err := s.check(resp, begin, end); err != nil {
		_ = resp.Body.Close()
		if f, ok := errors.AsType[*tryError](err); ok && f.denied {
			s.expire(u)
			f.retry = !s.client.isHub(resp.Request.URL)
		}
		return nil, err
	}
	return resp, nil
}

// check reports whether an answer holds the bytes from begin up to end and nothing else.
func (s *source) check(resp *http.Response, begin, end int64) error {
	host := resp.Request.URL.Host
	wrong := func(format string, args ...any) error {
		return &tryError{err: fmt.Errorf("%s %s", host, fmt.Sprintf(format, args...)), retry: true}
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return wrong("sends the file in the encoding %q", encoding)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if begin != 0 || end != s.file.SizeBytes {
			return &tryError{err: fmt.Errorf("%s does not send parts of files", host), noRange: true}
		}
	case http.StatusPartialContent:
		got := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range"))
		if got == nil {
			return wrong("does not say which part of the file it sends")
		}
		if got[3] != "*" && got[3] != strconv.FormatInt(s.file.SizeBytes, 10) {
			return wrong("has a file of %s bytes, the hub one of %d", got[3], s.file.SizeBytes)
		}
		if got[1] != strconv.FormatInt(begin, 10) || got[2] != strconv.FormatInt(end-1, 10) {
			return wrong("sends the bytes %s-%s of the file, and was asked for %d-%d", got[1], got[2], begin, end-1)
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return wrong("has a shorter file than the hub announces")
	default:
		return statusError(resp)
	}
	if resp.ContentLength >= 0 && resp.ContentLength != end-begin {
		return wrong("announces %d bytes instead of %d", resp.ContentLength, end-begin)
	}
	return s.sameEtag(resp.Header.Get("Etag"))
}

var contentRange = regexp.MustCompile(`^bytes (\d+)-(\d+)/(\d+|\*)$`)

// sameEtag refuses to mix two versions of a file whose checksum is not known to find it out in the end.
func (s *source) sameEtag(etag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file.SHA256 != "" || etag == "" {
		return nil
	}
	if s.etag == "" {
		s.etag = etag
	}
	if s.etag != etag {
		return errChanged
	}
	return nil
}
