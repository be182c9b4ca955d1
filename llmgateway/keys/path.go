package keys

import (
	"net/url"
	"strings"
)

// FromPath takes the key out of an escaped path such as /k/<key>/v1/models, for clients that can be given an address and no
// header. It returns the key and the escaped path without it; ok is false if there is none.
func FromPath(escaped string) (key, rest string, ok bool) {
	segment, ok := strings.CutPrefix("/"+strings.TrimLeft(escaped, "/"), "/k/")
	if !ok {
		return "", "", false
	}
	segment, rest, _ = strings.Cut(strings.TrimLeft(segment, "/"), "/")
	key, err := url.PathUnescape(segment)
	if err != nil {
		key = segment
	}
	return key, "/" + rest, true
}

// FromBearer takes the key out of a header field Authorization. ok is false if it is of another scheme.
func FromBearer(field string) (key string, ok bool) {
	scheme, key, _ := strings.Cut(strings.TrimLeft(field, " "), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(key), true
}
