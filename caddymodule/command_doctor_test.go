package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/doctor"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// plantedKey is what no output may hold.
const plantedKey = "sk-planted-secret"

// examine runs `caddy llm doctor` in a process of its own, since it validates a configuration.
func examine(t *testing.T, g *gateway, caddyfile string) (report doctor.Report, healthy bool) {
	t.Helper()
	file := filepath.Join(g.dir, "examined")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "llm", "doctor", "--config", file, "--adapter", "caddyfile", "--json")
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+g.dir, "XDG_DATA_HOME="+g.dir, "XDG_CONFIG_HOME="+g.dir, "PLANTED_KEY="+plantedKey)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	err := cmd.Run()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatal(err)
	}
	if strings.Contains(out.String()+messages.String(), plantedKey) {
		t.Errorf("the key was printed:\n%s\n%s", out.String(), messages.String())
	}
	if e := json.Unmarshal(out.Bytes(), &report); e != nil {
		t.Fatalf("%v in %s\n%s", e, out.String(), messages.String())
	}
	if report.Healthy != (err == nil) {
		t.Errorf("healthy %t, but it ended with %v", report.Healthy, err)
	}
	return report, report.Healthy
}

// finding returns what was found about something.
func finding(t *testing.T, r doctor.Report, area, subject string) doctor.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Area == area && strings.Contains(f.Subject, subject) {
			return f
		}
	}
	t.Errorf("nothing was found about %s %s in %+v", area, subject, r.Findings)
	return doctor.Finding{}
}

func TestDoctorLooksAtAllThatAConfigurationNeeds(t *testing.T) {
	liar := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(r.Header.Get("Authorization")))
	})
	trusting := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/key" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	g := newGateway(t)
	site := fmt.Sprintf(`llm {
		provider good openai %s {
			api_key {env.PLANTED_KEY}
		}
		provider trusting openrouter %s {
			api_key {env.PLANTED_KEY}
		}
		provider refused openai %s {
			api_key {env.PLANTED_KEY}
		}
		provider off openrouter {
			api_key {env.NOT_SET}
		}
		provider near llamacpp %q {
			cache_dir %s/prompts
		}
		provider unset llamacpp {env.NOT_SET}
		provider gone llamacpp /no/such/model.gguf
		model m {
			to good refused off near unset gone
		}
		model n {
			to trusting/n
		}
	}`, upstream(t, good), trusting, liar, starterModel(t), g.dir)
	report, healthy := examine(t, g, g.caddyfile(site))
	if healthy {
		t.Error("all is said to be well")
	}
	for _, want := range []struct {
		area, subject string
		verdict       doctor.Verdict
	}{
		{"configuration", "examined", doctor.OK},
		{"provider", "good", doctor.OK},
		{"provider", "refused", doctor.Failure},
		{"provider", "trusting", doctor.Failure}, // though it lists its models
		{"provider", "off", doctor.Warning},
		{"clock", "good", doctor.OK},
		{"model", "near", doctor.OK},
		{"model", "gone", doctor.Failure},
		{"model", "unset", doctor.Warning},
		{"memory", "", doctor.OK},
		{"llama-server", "", doctor.OK},
		{"port", g.address, doctor.OK},
		{"folder", "Caddy", doctor.OK},
		{"folder", "sockets", doctor.OK},
		{"folder", "cache_dir of near", doctor.OK},
		{"certificate", "", doctor.Warning}, // it is for a day
	} {
		if got := finding(t, report, want.area, want.subject); got.Verdict != want.verdict {
			t.Errorf("%s %s: got %+v", want.area, want.subject, got)
		}
	}
	for _, f := range report.Findings {
		if f.Verdict != doctor.OK && f.Advice == "" {
			t.Errorf("no advice: %+v", f)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(g.dir, "*doctor*")); len(files) != 0 {
		t.Errorf("left over: %v", files)
	}
}

// The key goes to Hugging Face only where the provider is Hugging Face.
func TestDoctorAsksHuggingFaceWhoseAKeyIs(t *testing.T) {
	for base, want := range map[string]string{
		"https://router.huggingface.co/v1": "https://huggingface.co/api/whoami-v2", "https://gateway.example/v1": "",
	} {
		client, err := openai.NewClient(base, plantedKey, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if u := (&HuggingFace{OpenAI{client: client}}).keyURL(); u != nil {
			got = u.String()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", base, got, want)
		}
	}
}

func TestDoctorFindsARunningGatewayWell(t *testing.T) {
	g := newGateway(t)
	site := "llm {\nprovider a echo\nmodel m {\nto a\n}\n}"
	g.spawn(site)
	report, healthy := examine(t, g, g.caddyfile(site))
	if port := finding(t, report, "port", g.address); !healthy || !strings.Contains(port.Detail, "gateway is running") {
		t.Errorf("got %+v", report)
	}
}

func TestDoctorSaysWhatIsWrongWithAConfiguration(t *testing.T) {
	g := newGateway(t)
	for name, text := range map[string]string{
		"not to be read": "{", "not valid": g.caddyfile("llm {\nprovider a echo\nmodel m {\nto b\n}\n}"),
		"with a mistake in a word": g.caddyfile("llm {\nprovidr a echo\n}"),
	} {
		report, healthy := examine(t, g, text)
		if f := finding(t, report, "configuration", ""); healthy || f.Verdict != doctor.Failure || f.Detail == "" || f.Advice == "" {
			t.Errorf("%s: got %+v", name, report)
		}
	}
}
