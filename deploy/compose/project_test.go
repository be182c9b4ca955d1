// Package compose checks the compose files with the parser that Docker Compose itself uses.
package compose

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
)

const root = "../.."

// What setup.sh makes, each recognizable in what comes out.
var secrets = map[string]string{
	"BYTEBOT_PASSWORD_HASH": "$2a$14$PlantedHashPlantedHashPlantedHashPlantedHashPlanted",
	"DATABASE_URL":          "postgresql://postgres:planted-database-password@postgres:5432/bytebotdb",
	"HF_API_KEY":            "planted-hf-key",
	"LLM_AGENT_KEY":         "planted-agent-key",
	"LLM_KEY":               "planted-llm-key",
	"OPENROUTER_API_KEY":    "planted-openrouter-key",
	"POSTGRES_PASSWORD":     "planted-database-password",
}

// example returns the variables of .env.example.
func example(t *testing.T) map[string]string {
	t.Helper()
	values, err := dotenv.Read(filepath.Join(root, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// described returns the variables of .env.example with those that are commented out.
func described(t *testing.T) map[string]string {
	t.Helper()
	values := example(t)
	for _, match := range regexp.MustCompile(`(?m)^#([A-Z_]+)=(.*)$`).FindAllStringSubmatch(sources(t, ".env.example")[".env.example"], -1) {
		values[match[1]] = match[2]
	}
	return values
}

// load returns what a compose file means with .env.example, secrets and the variables of change.
func load(t *testing.T, file string, change map[string]string) *types.Project {
	t.Helper()
	env := example(t)
	maps.Copy(env, secrets)
	maps.Copy(env, change)
	project, err := read(t.Context(), file, env)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func read(ctx context.Context, file string, env map[string]string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, file)}, cli.WithWorkingDirectory(root))
	if err != nil {
		return nil, err
	}
	options.Environment = env
	return options.LoadProject(ctx)
}

// sources returns the texts of the files that match patterns, by path.
func sources(t *testing.T, patterns ...string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: no such file, or %v", pattern, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[strings.TrimPrefix(filepath.ToSlash(path), root+"/")] = string(text)
		}
	}
	return texts
}
