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

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var updateAdapted = flag.Bool("update-adapted", false, "write what the files in testdata/adapt adapt to")

// TestCaddyfileAdapts has a file for each case: a Caddyfile, a line of dashes, and the JSON it is adapted to or the error
// that it is refused with. A configuration that is adapted and then refused has its error behind a second line of dashes.
func TestCaddyfileAdapts(t *testing.T) {
	paths, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".caddyfiletest"), func(t *testing.T) {
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text, want, _ := strings.Cut(string(file), dashes)
			got := adapted(text)
			if *updateAdapted {
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

const dashes = "----------\n"

// adapted returns what follows the dashes of a case.
func adapted(text string) string {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, config, "", "\t"); err != nil {
		return "error: " + err.Error() + "\n"
	}
	indented.WriteByte('\n')
	if err := validated(config); err != nil {
		indented.WriteString(dashes + "error: " + err.Error() + "\n")
	}
	return indented.String()
}

// validated provisions and validates a configuration, and starts nothing.
func validated(config []byte) error {
	var c caddy.Config
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	c.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}}}}
	err := caddy.Validate(&c)
	if err == nil {
		return nil
	}
	// Caddy says first where the module is.
	if _, ours, ok := strings.Cut(err.Error(), "loading module 'llm': "); ok {
		return errors.New(ours)
	}
	return err
}
