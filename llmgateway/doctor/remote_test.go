package doctor

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

const key = "sk-planted-secret-0123456789"

// liar is a provider that answers with a status, a body and a date of its own, and refuses who has no key.
func liar(t *testing.T, status int, body string, date time.Time) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization := r.Header.Get("Authorization")
		if r.URL.Path != "/v1/models" || authorization != "Bearer "+key && authorization != "" {
			t.Errorf("asked for %s with %v", r.URL, r.Header)
		}
		if authorization == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
		if status >= 300 && status < 400 {
			w.Header().Set("Location", "http://192.0.2.1/")
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL + "/v1"
}

func TestRemotesTellWhatIsWrongAndNeverTheKey(t *testing.T) {
	now := time.Now()
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	stranger.StartTLS()
	defer stranger.Close()
	for _, test := range []struct {
		name, url  string
		disabled   string
		verdict    Verdict
		detail     string
		clock      Verdict
		clockWords string
	}{
		{"good", liar(t, 200, `{"data":[]}`, now), "", OK, "takes the key", OK, "agrees"},
		{"refuses the key, and quotes it", liar(t, 401, `{"error":{"message":"bad key `+key+`"}}`, now), "", Failure, "credentials", OK, "agrees"},
		{"wants money", liar(t, 402, "", now), "", Failure, "credit", OK, "agrees"},
		{"is busy", liar(t, 429, "", now), "", Warning, "limits how often", OK, "agrees"},
		{"is a page", liar(t, 200, "<html>", now), "", Warning, "page for people", OK, "agrees"},
		{"is a stranger", stranger.URL + "/v1", "", Failure, "not to be trusted: x509", "", ""},
		{"is down", liar(t, 503, "<html>"+key+"</html>", now), "", Failure, "503", OK, "agrees"},
		{"has no list", liar(t, 404, "<html>", now), "", Warning, "404", OK, "agrees"},
		{"leads elsewhere", liar(t, 307, "", now), "", Warning, "307", OK, "agrees"},
		{"lives in the past", liar(t, 200, "", now.Add(-time.Hour)), "", OK, "takes the key", Warning, "s ahead of"},
		{"lives in the future", liar(t, 200, "", now.Add(5*time.Minute)), "", OK, "takes the key", Warning, "behind"},
		{"is not there", "http://127.0.0.1:1/v1", "", Failure, "does not answer", "", ""},
		{"is switched off", "http://127.0.0.1:1/v1", "api_key {env.X} is empty", Warning, "switched off: api_key {env.X}", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, err := openai.NewClient(test.url, key, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := Remotes(t.Context(), []Remote{{Name: "far", Disabled: test.disabled, Client: client}})
			if got[0].Verdict != test.verdict || !strings.Contains(got[0].Detail, test.detail) || got[0].Subject != "far" {
				t.Errorf("got %+v", got[0])
			}
			if (got[0].Advice == "") != (got[0].Verdict == OK) {
				t.Errorf("the advice is %q", got[0].Advice)
			}
			switch {
			case test.clock == "" && len(got) > 1:
				t.Errorf("a clock was found: %+v", got[1])
			case test.clock != "" && (len(got) < 2 || got[1].Verdict != test.clock || !strings.Contains(got[1].Detail, test.clockWords)):
				t.Errorf("the clock: %+v", got[1:])
			}
			var text strings.Builder
			if err := NewReport(got).Write(&text); err != nil || strings.Contains(text.String(), key) {
				t.Errorf("%v in %s", err, text.String())
			}
		})
	}
}

// A list of models that everybody gets does not show that a key is taken.
func TestKeysAreAskedAboutWhereModelsAreForEverybody(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch authorization := r.Header.Get("Authorization"); {
		case r.URL.Path == "/v1/models":
			_, _ = w.Write([]byte(`{"data":[]}`))
		case r.URL.Path != "/v1/key":
			w.WriteHeader(http.StatusNotFound)
		case authorization != "Bearer "+key:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer s.Close()
	for _, test := range []struct {
		name, key, at string
		verdict       Verdict
		detail        string
	}{
		{"taken", key, "/v1/key", OK, "takes the key"},
		{"not taken", "sk-another-0123456789", "/v1/key", Failure, "credentials"},
		{"nobody says", "sk-another-0123456789", "", OK, "does not show"},
		{"it says nothing", "sk-another-0123456789", "/v1/elsewhere", OK, "does not show"},
		{"there is none", "", "/v1/key", OK, "it answers"},
	} {
		client, err := openai.NewClient(s.URL+"/v1", test.key, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		remote := Remote{Name: "far", Client: client}
		if test.at != "" {
			remote.Key = client.BaseURL.ResolveReference(&url.URL{Path: test.at})
		}
		if got := Remotes(t.Context(), []Remote{remote})[0]; got.Verdict != test.verdict || !strings.Contains(got.Detail, test.detail) {
			t.Errorf("%s: got %+v", test.name, got)
		}
	}
}
