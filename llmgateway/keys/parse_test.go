package keys

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAFileHoldsAKeyOnEachLine(t *testing.T) {
	ring := new(Ring)
	text := "\ufeff# of Ann\n\n" + first + "\r\n  " + second + "  models=qwen,local-*  expires=2027-03-31\n"
	if err := ring.AddFile("ann", text); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2027, 3, 31, 23, 59, 59, 0, time.UTC)
	for key, want := range map[string]Grant{
		first:  {Client: "ann"},
		second: {Client: "ann", Models: []string{"qwen", "local-*"}, Expires: now.Add(time.Second)},
	} {
		if got, err := ring.Find(key, now); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestFilesThatMakeNoSenseAreRefusedAndNotQuoted(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":               {"", "no key"},
		"comments only":       {"# nothing\n", "no key"},
		"two keys on a line":  {first + " " + second, "line 1"},
		"short":               {first + "\nshort", "line 2"},
		"unknown bound":       {first + " until=2027-03-31", "line 1"},
		"bound twice":         {first + " models=a models=b", "line 1"},
		"no model":            {first + " models=", "a name is empty"},
		"empty model":         {first + " models=a,,b", "a name is empty"},
		"no time":             {first + " expires=soon", `"soon" is not a time`},
		"the same key twice":  {first + "\n" + first, "line 2"},
		"a time without zone": {first + " expires=2027-03-31T10:00:00", "is not a time"},
	} {
		err := new(Ring).AddFile("ann", test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		} else if strings.Contains(err.Error(), first) || strings.Contains(err.Error(), second) {
			t.Errorf("%s: the error quotes a key: %v", name, err)
		}
	}
}

func TestExpiryIsTheEndOfADayOrATime(t *testing.T) {
	for s, want := range map[string]string{
		"2027-02-28":                "2027-03-01T00:00:00Z",
		"2027-02-28T10:00:00Z":      "2027-02-28T10:00:00Z",
		"2027-02-28T10:00:00+02:00": "2027-02-28T08:00:00Z",
	} {
		got, err := ParseExpiry(s)
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: got %v, %v, want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "never", "2027-02-30", "28.2.2027"} {
		if _, err := ParseExpiry(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestKeysAreTakenOutOfPaths(t *testing.T) {
	for path, want := range map[string][3]string{
		"/k/abc/v1/models":         {"abc", "/v1/models", "yes"},
		"/k/abc/v1//model/info":    {"abc", "/v1//model/info", "yes"},
		"//k//abc//chat":           {"abc", "//chat", "yes"},
		"/k/abc":                   {"abc", "/", "yes"},
		"/k/abc/":                  {"abc", "/", "yes"},
		"/k/":                      {"", "/", "yes"},
		"/k/a%2Fb/v1/models/x%2Fy": {"a/b", "/v1/models/x%2Fy", "yes"},
		"/k/a%zz/v1":               {"a%zz", "/v1", "yes"},
		"/k":                       {},
		"/K/abc/v1":                {},
		"/v1/k/abc":                {},
		"/keys/abc":                {},
		"":                         {},
	} {
		key, rest, ok := FromPath(path)
		if key != want[0] || rest != want[1] || ok != (want[2] == "yes") {
			t.Errorf("%s: got %q, %q, %t", path, key, rest, ok)
		}
	}
}

func TestKeysAreTakenOutOfBearerFields(t *testing.T) {
	for field, want := range map[string]string{"Bearer abc": "abc", "bearer  abc ": "abc", " BEARER abc": "abc", "Bearer": "", "Bearer ": ""} {
		if key, ok := FromBearer(field); !ok || key != want {
			t.Errorf("%q: got %q, %t", field, key, ok)
		}
	}
	for _, field := range []string{"", "Basic YWJjOmRlZg==", "Bearerabc", "abc"} {
		if key, ok := FromBearer(field); ok {
			t.Errorf("%q: got %q", field, key)
		}
	}
}

// FuzzAddFile checks that no file makes a key that is short, and that what is taken in is found again.
func FuzzAddFile(f *testing.F) {
	f.Add("# of Ann\n" + first + " models=a,b expires=2027-03-31\n" + second)
	f.Add(first + " until=now")
	f.Fuzz(func(t *testing.T, text string) {
		ring := new(Ring)
		err := ring.AddFile("ann", text)
		if err == nil && ring.Len() == 0 {
			t.Error("a file without a key is taken")
		}
		found := 0
		for line := range strings.Lines(text) {
			if fields := strings.Fields(line); len(fields) > 0 {
				if _, err := ring.Find(fields[0], time.Time{}); err == nil {
					found++
					if len(fields[0]) < MinLength {
						t.Errorf("the key %q opens", fields[0])
					}
				}
			}
		}
		if err == nil && found != ring.Len() {
			t.Errorf("%d keys are found of %d", found, ring.Len())
		}
	})
}

// FuzzFromPath checks that what is left of a path has no key in it, and is a path.
func FuzzFromPath(f *testing.F) {
	f.Add("/k/abc/v1/models")
	f.Add("//k/%2f//k/b")
	f.Fuzz(func(t *testing.T, path string) {
		_, rest, ok := FromPath(path)
		if ok != strings.HasPrefix(rest, "/") {
			t.Errorf("%q: got %q, %t", path, rest, ok)
		}
		if len(rest) > len(path) {
			t.Errorf("%q has become longer: %q", path, rest)
		}
	})
}
