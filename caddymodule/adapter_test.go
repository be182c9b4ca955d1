package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	// The gateway's Caddy has it, and config.yaml uses it.
	_ "github.com/mholt/caddy-ratelimit"
	"github.com/tidwall/gjson"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/settings"
)

var updateSettings = flag.Bool("update-settings", false, "write what the files in testdata/settings adapt to")

// settingsCases returns the files of testdata/settings: a config.yaml, a line of dashes, and the Caddyfile that it stands for
// with the JSON that this is adapted to behind another such line, or the error that it is refused with.
func settingsCases(t testing.TB) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/settings/*.yamltest")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	cases := make(map[string]string)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cases[path] = string(text)
	}
	return cases
}

func TestSettingsAdapt(t *testing.T) {
	for path, file := range settingsCases(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yamltest"), func(t *testing.T) {
			text, want, _ := strings.Cut(file, dashes)
			got := adaptedSettings(t, text)
			if *updateSettings {
				if err := os.WriteFile(path, []byte(text+dashes+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// adaptedSettings returns what follows the dashes of a case.
func adaptedSettings(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	config, warnings, err := caddyconfig.GetAdapter("llmgateway").Adapt([]byte(text), nil)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	for _, w := range warnings {
		b.WriteString("warning: " + w.String() + "\n")
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	migrated, err := command(t, "migrate", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		migrated = strings.Replace(migrated, strings.Replace(w.String(), "config.yaml", file, 1)+"\n", "", 1)
	}
	b.WriteString(migrated + dashes)
	if formatted := string(caddyfile.Format([]byte(migrated))); formatted != migrated {
		t.Errorf("caddy fmt makes of it\n%s", formatted)
	}
	if again := adapt(t, migrated); !bytes.Equal(again, config) {
		t.Errorf("the Caddyfile means something else:\n%s\n%s", again, config)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, config, "", "\t"); err != nil {
		t.Fatal(err)
	}
	b.Write(indented.Bytes())
	b.WriteByte('\n')
	if err := validated(config); err != nil {
		b.WriteString(dashes + "error: " + err.Error() + "\n")
	}
	return b.String()
}

// Keys that clients put where they do not belong stay out of the log whichever file a gateway is set up with.
func TestSettingsKeepMisplacedKeysOutOfTheLogAsTheCaddyfileDoes(t *testing.T) {
	encoder := func(file, adapter string) string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		config, _, err := caddyconfig.GetAdapter(adapter).Adapt(text, map[string]any{"filename": file})
		if err != nil {
			t.Fatal(err)
		}
		return gjson.GetBytes(config, "logging.logs.default.encoder").Raw
	}
	want := encoder(filepath.Join(repository, "Caddyfile"), "caddyfile")
	if got := encoder(filepath.Join(repository, "llmgateway", "config.yaml"), "llmgateway"); got != want || want == "" {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzSettingsAdapt looks for settings that are right and make a wrong Caddyfile, and for errors without a place.
func FuzzSettingsAdapt(f *testing.F) {
	seed, err := os.ReadFile("../llmgateway/config.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	for _, file := range settingsCases(f) {
		text, _, _ := strings.Cut(file, dashes)
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := settings.Parse(text, os.LookupEnv)
		config, _, adaptErr := caddyconfig.GetAdapter("llmgateway").Adapt(text, nil)
		if err != nil {
			if _, ok := errors.AsType[settings.Errors](err); !ok || adaptErr == nil {
				t.Fatalf("got %v, %v", err, adaptErr)
			}
			return
		}
		written, err := writeSettings(s)
		if err != nil || adaptErr != nil {
			t.Fatalf("%v, %v\nin\n%s", err, adaptErr, written)
		}
		if !bytes.Equal(caddyfile.Format(written), written) {
			t.Errorf("not formatted:\n%s", written)
		}
		var parsed struct {
			Apps struct {
				HTTP struct {
					Servers map[string]json.RawMessage
				}
			}
		}
		if err := json.Unmarshal(config, &parsed); err != nil || len(parsed.Apps.HTTP.Servers) != 1 {
			t.Errorf("got %d servers, %v", len(parsed.Apps.HTTP.Servers), err)
		}
	})
}

// Caddy gives up watching a file whose adapter fails.
func TestWatchedFileMayBeWrongForAWhile(t *testing.T) {
	adapter := new(Adapter)
	first := "providers:\n  - {name: a, type: llama.cpp, model_path: x.gguf}\n"
	options := map[string]any{"filename": "some/config.yaml"}
	if _, _, err := adapter.Adapt([]byte("providers: []"), options); err == nil || !strings.HasPrefix(err.Error(), "some/config.yaml:1:12: ") {
		t.Errorf("wrong from the beginning: got %v", err)
	}
	config, _, err := adapter.Adapt([]byte(first), options)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "providers:", "providers: []"} {
		if got, _, err := adapter.Adapt([]byte(wrong), options); err != nil || !bytes.Equal(got, config) {
			t.Errorf("%q: got %s, %v", wrong, got, err)
		}
	}
	second, _, err := adapter.Adapt([]byte(first+"cache: {}\n"), options)
	if err != nil || bytes.Equal(second, config) {
		t.Errorf("got %s, %v", second, err)
	}
	if _, _, err := adapter.Adapt([]byte("providers: []"), nil); err == nil {
		t.Error("what nobody watches is not refused")
	}
}
