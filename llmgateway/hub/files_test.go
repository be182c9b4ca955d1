package hub

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReferenceNamesARepository(t *testing.T) {
	good := map[string]Reference{
		"Qwen/Qwen2.5-0.5B-Instruct-GGUF":                       {"Qwen/Qwen2.5-0.5B-Instruct-GGUF", "main", ""},
		"Qwen/Qwen2.5-0.5B-Instruct-GGUF:q4_k_m":                {"Qwen/Qwen2.5-0.5B-Instruct-GGUF", "main", "q4_k_m"},
		"o/r:sub/m-00001-of-00002.gguf":                         {"o/r", "main", "sub/m-00001-of-00002.gguf"},
		"https://huggingface.co/bartowski/gemma-2-2b-it-GGUF/":  {"bartowski/gemma-2-2b-it-GGUF", "main", ""},
		"hf.co/unsloth/Qwen3-4B-GGUF:UD-Q4_K_XL":                {"unsloth/Qwen3-4B-GGUF", "main", "UD-Q4_K_XL"},
		"bartowski/gemma-2-2b-it-GGUF:gemma-2-2b-it-IQ3_M.gguf": {"bartowski/gemma-2-2b-it-GGUF", "main", "gemma-2-2b-it-IQ3_M.gguf"},
	}
	for s, want := range good {
		if got, err := ParseReference(s); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "repo", "o/r/x", "../r", "o/..", "o/r..x", "o/r:", "/r", "o/", "o r/x", "o/r?x=1", "o/r#x", "o/r%2e", "o/r@x", "o/\x1b", "-o/r",
		"o/r:../x.gguf", "o/r:/etc/x.gguf", `o/r:a\b.gguf`, "o/r:a//b.gguf", "o/r:./a.gguf", "o/r:a/../b.gguf", "o/r:.hidden.gguf", "o/r:a\nb.gguf",
		"https://example.com/o/r", "http://huggingface.co/o/r",
	} {
		if got, err := ParseReference(s); err == nil {
			t.Errorf("%q: got %+v", s, got)
		}
	}
	for _, revision := range []string{"", "../x", "a b", "a?b", "a//b", "-x", "a\x00"} {
		if err := (Reference{Repo: "o/r", Revision: revision}).Validate(); err == nil {
			t.Errorf("revision %q is taken", revision)
		}
	}
	if err := (Reference{Repo: "o/r", Revision: "refs/pr/1"}).Validate(); err != nil {
		t.Error(err)
	}
}

func list(paths ...string) []File {
	var files []File
	for _, p := range paths {
		files = append(files, File{Path: p})
	}
	return files
}

func TestChooseFindsTheWantedModel(t *testing.T) {
	qwen := list("README.md", "q-0.5b-instruct-fp16.gguf", "q-0.5b-instruct-q4_0.gguf", "q-0.5b-instruct-q4_k_m.gguf", "q-0.5b-instruct-q8_0.gguf")
	split := list("Q8_0/big-Q8_0-00002-of-00002.gguf", "Q8_0/big-Q8_0-00001-of-00002.gguf", "big-Q4_K_S.gguf", "big-Q4_K_M.gguf", "big-Q4_K.gguf",
		"mmproj-F32.gguf", "mmproj-F16.gguf", "imatrix.gguf", "big-Q6_K-00001-of-00003.gguf")
	tests := []struct {
		files      []File
		want, got  string
		wrongSaids string
	}{
		{qwen, "", "q-0.5b-instruct-q4_k_m.gguf", ""},
		{qwen, "Q8_0", "q-0.5b-instruct-q8_0.gguf", ""},
		{qwen, "fp16", "q-0.5b-instruct-fp16.gguf", ""},
		{qwen, "q-0.5b-instruct-q4_0.gguf", "q-0.5b-instruct-q4_0.gguf", ""},
		{qwen, "q-0.5b-instruct-q4_0", "q-0.5b-instruct-q4_0.gguf", ""},
		{qwen, "q4", "", "there are: q-0.5b"},
		{qwen, "q-0.5b-instruct-q4_k.gguf", "", "there are: q-0.5b-instruct-q4_k_m.gguf, "},
		{split, "", "big-Q4_K_M.gguf", ""},
		{split, "q4_k", "big-Q4_K.gguf", ""},
		{split, "q8_0", "Q8_0/big-Q8_0-00001-of-00002.gguf Q8_0/big-Q8_0-00002-of-00002.gguf", ""},
		{split, "Q8_0/big-Q8_0-00001-of-00002.gguf", "Q8_0/big-Q8_0-00001-of-00002.gguf Q8_0/big-Q8_0-00002-of-00002.gguf", ""},
		{split, "Q6_K", "", "1 of the model's 3 files"},
		{split, "F16", "", "there are"},
		{list("a.bin"), "", "", "-GGUF"},
		{list("only-Q2_K.gguf"), "", "only-Q2_K.gguf", ""},
		{list("a-Q8_0.gguf", "b-Q8_0.gguf"), "", "", "no model in Q4_K_M"},
		{list("a-Q8_0.gguf", "b-Q8_0.gguf"), "Q8_0", "", "several"},
		{list("x/a.gguf", "y/a.gguf"), "a.gguf", "", "several"},
		{list("x/a.gguf", "y/a.gguf"), "y/a.gguf", "y/a.gguf", ""},
	}
	for _, tt := range tests {
		got, err := Choose(tt.files, tt.want)
		var paths []string
		for _, f := range got {
			paths = append(paths, f.Path)
		}
		if s := strings.Join(paths, " "); s != tt.got || (err == nil) != (tt.wrongSaids == "") || err != nil && !strings.Contains(err.Error(), tt.wrongSaids) {
			t.Errorf("%q of %s...: got %s, %v", tt.want, tt.files[0].Path, s, err)
		}
	}
	if f, err := ChooseProjector(split); err != nil || f.Path != "mmproj-F16.gguf" {
		t.Errorf("got %v, %v", f, err)
	}
	if _, err := ChooseProjector(qwen); err == nil {
		t.Error("a projector was found where there is none")
	}
}

func TestFilesListsAllPages(t *testing.T) {
	h := newFakeHub(t, nil)
	h.answer = func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Query().Get("cursor") {
		case "":
			w.Header().Set("Link", "<"+h.hub.URL+r.URL.Path+`?cursor=2>; rel="next"`)
			fmt.Fprint(w, `[{"type":"file","path":"a.gguf","size":134,"lfs":{"oid":"sha256:`+strings.Repeat("A", 64)+`","size":7}},{"type":"directory","path":"d"}]`)
		default:
			fmt.Fprint(w, `[{"type":"file","path":"d/b.gguf","size":3,"lfs":{"oid":"odd","size":3}},{"type":"file","path":"README.md","size":1}]`)
		}
		return true
	}
	got, err := h.client(t, "").Files(t.Context(), ref)
	want := []File{{"a.gguf", 7, strings.Repeat("a", 64)}, {"d/b.gguf", 3, ""}, {"README.md", 1, ""}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFilesAsksInTheOlderWay(t *testing.T) {
	h := newFakeHub(t, nil)
	h.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/models/owner/repo-GGUF" {
			http.NotFound(w, r)
			return true
		}
		fmt.Fprint(w, `{"siblings":[{"rfilename":"a.gguf","size":7,"lfs":{"sha256":"`+strings.Repeat("b", 64)+`","size":7}},{"rfilename":"x"}]}`)
		return true
	}
	got, err := h.client(t, "").Files(t.Context(), ref)
	if err != nil || len(got) != 2 || got[0].SHA256 != strings.Repeat("b", 64) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFilesSaysWhatToDo(t *testing.T) {
	answer := func(status int, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			return true
		}
	}
	text := func(s string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, s)
			return true
		}
	}
	tests := []struct {
		name, token string
		answer      func(http.ResponseWriter, *http.Request) bool
		want        []string
	}{
		{"gated", "", answer(401, "X-Error-Message", "Access to model is restricted"), []string{"accept its licence at http://", "/owner/repo-GGUF", "HF_TOKEN", "Access to model is restricted"}},
		{"token without rights", "hf_secret", answer(403), []string{"token in HF_TOKEN does not open", "licence"}},
		{"nothing", "", answer(404), []string{"there is no owner/repo-GGUF"}},
		{"broken", "", answer(500), []string{"500", "5 tries"}},
		{"a web page", "", text("<!DOCTYPE html>"), []string{"is it a hub?"}},
		{"traversal", "", text(`[{"type":"file","path":"../../x.gguf","size":1}]`), []string{"refused"}},
		{"absolute", "", text(`[{"type":"file","path":"/etc/x.gguf","size":1}]`), []string{"refused"}},
		{"absurd", "", text(`[{"type":"file","path":"x.gguf","size":-1}]`), []string{"-1 bytes"}},
		{"pages elsewhere", "", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Link", `<http://169.254.169.254/x>; rel="next"`)
			fmt.Fprint(w, "[]")
			return true
		}, []string{"at another place"}},
		{"endless pages", "", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Link", `</x>; rel="next"`)
			fmt.Fprint(w, "[]")
			return true
		}, []string{"too many"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newFakeHub(t, nil)
			h.answer = tt.answer
			_, err := h.client(t, tt.token).Files(t.Context(), ref)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hf_secret") {
				t.Errorf("the token is in %v", err)
			}
		})
	}
}

func TestTokenGoesToTheHubAlone(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("another server got the token")
		}
		fmt.Fprint(w, "[]")
	}))
	defer other.Close()
	h := newFakeHub(t, nil)
	asked := false
	h.answer = func(w http.ResponseWriter, r *http.Request) bool {
		asked = asked || r.Header.Get("Authorization") == "Bearer hf_secret"
		if strings.HasPrefix(r.URL.Path, "/renamed") {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		} else {
			http.Redirect(w, r, "/renamed"+r.URL.Path, http.StatusTemporaryRedirect)
		}
		return true
	}
	if _, err := h.client(t, "hf_secret").Files(t.Context(), ref); err != nil {
		t.Error(err)
	}
	if !asked {
		t.Error("the hub did not get the token")
	}
}

func TestNewClientRefusesOddSettings(t *testing.T) {
	for _, endpoint := range []string{"huggingface.co", "ftp://x", "https://", "https://user:secret@x", "https://x?y", "::"} {
		if _, err := NewClient(endpoint, ""); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", endpoint, err)
		}
	}
	if _, err := NewClient("", "hf_a\r\nX: y"); err == nil || strings.Contains(err.Error(), "hf_a") {
		t.Errorf("got %v", err)
	}
	c, err := NewClient("", " hf_a\n")
	if err != nil || c.Endpoint.String() != DefaultEndpoint || c.Token != "hf_a" {
		t.Errorf("got %+v, %v", c, err)
	}
}
