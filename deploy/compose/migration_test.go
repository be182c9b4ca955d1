package compose

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// TestMigrationsArePinned checks that no start takes whatever Prisma is newest.
func TestMigrationsArePinned(t *testing.T) {
	services := load(t, "compose.yml", nil).Services
	if command := services["bytebot-agent"].Command; !slices.Equal(command, []string{"node", "dist/main"}) {
		t.Errorf("the agent starts with %q", command)
	}
	if command := strings.Join(services["bytebot-migrate"].Command, " "); !regexp.MustCompile(`^sh -c for .*; do npx --yes prisma@6\.\d+\.\d+ migrate deploy && exit; .*; done; exit 1$`).MatchString(command) {
		t.Errorf("migrations run with %q", command)
	}
	if services["bytebot-migrate"].Image != services["bytebot-agent"].Image {
		t.Error("migrations are those of another image than the agent's")
	}
}

// TestNothingDependsOnWhatEndedAndDepended checks what Podman cannot do: when it starts a container, it looks up what that depends
// on and does not run, and what this depends on must not run either.
func TestNothingDependsOnWhatEndedAndDepended(t *testing.T) {
	services := load(t, "compose.yml", nil).Services
	for name, service := range services {
		for other, dependency := range service.DependsOn {
			if further := services[other].DependsOn; dependency.Condition == types.ServiceConditionCompletedSuccessfully && len(further) > 0 {
				t.Errorf("%s depends on %s, which will have ended, and depends on %v", name, other, further)
			}
		}
	}
}

// TestMigrationWaitsForTheDatabase runs its command with a stand-in for npx, which succeeds the third time, or never.
func TestMigrationWaitsForTheDatabase(t *testing.T) {
	command := load(t, "compose.yml", nil).Services["bytebot-migrate"].Command
	for _, test := range []struct {
		name, succeeds string
		want           int
		ok             bool
	}{
		{"at once", "1", 1, true},
		{"when the database is there", "3", 3, true},
		{"never", "100", 10, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			for name, script := range map[string]string{
				"sleep": "#!/bin/sh\n",
				"npx":   "#!/bin/sh\necho \"$*\" >>\"$0.log\"\n[ $(wc -l <\"$0.log\") -ge " + test.succeeds + " ]\n",
			} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			cmd.Env = []string{"PATH=" + folder + ":" + os.Getenv("PATH")}
			if out, err := cmd.CombinedOutput(); (err == nil) != test.ok {
				t.Errorf("got %v, %s", err, out)
			}
			calls, err := os.ReadFile(filepath.Join(folder, "npx.log"))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(string(calls), "--yes prisma@6.6.0 migrate deploy\n"); got != test.want {
				t.Errorf("it tried %d times, want %d: %s", got, test.want, calls)
			}
		})
	}
}
