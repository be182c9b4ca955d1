package keys

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ParseExpiry reads when a key expires: a day, whose end in UTC it is, or a time as RFC 3339 writes it.
func ParseExpiry(s string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time such as 2027-03-31 or 2027-03-31T18:00:00Z", s)
	}
	return at, nil
}

// AddFile takes in the keys of a client's file: on each line a key, and behind it what bounds it, as in
//
//	sk-3f0c9a... expires=2027-03-31 models=qwen,local-*
//
// Empty lines and those that begin with # are skipped. A file without a key is an error, and errors quote no key.
func (r *Ring) AddFile(client, text string) error {
	before, number := r.Len(), 0
	text = strings.TrimPrefix(text, "\ufeff") // which some editors begin files with
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		grant, err := bounds(client, fields[1:])
		if err == nil {
			err = r.Add(fields[0], grant)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	if r.Len() == before {
		return errors.New("there is no key in it")
	}
	return nil
}

// bounds reads what stands behind a key.
func bounds(client string, words []string) (Grant, error) {
	grant := Grant{Client: client}
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch {
		case name == "expires" && grant.Expires.IsZero():
			expires, err := ParseExpiry(value)
			if err != nil {
				return grant, fmt.Errorf("expires: %w", err)
			}
			grant.Expires = expires
		case name == "models" && grant.Models == nil:
			for model := range strings.SplitSeq(value, ",") {
				if model == "" {
					return grant, errors.New("models: a name is empty; write names with commas between them, such as models=qwen,local-*")
				}
				grant.Models = append(grant.Models, model)
			}
		default: // it may be another key
			return grant, errors.New("behind a key there may be expires=... and models=..., each once; other keys go on lines of their own")
		}
	}
	return grant, nil
}
