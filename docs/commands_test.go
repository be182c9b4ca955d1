package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// TestMain makes this very program a Caddy, as caddymodule/cmd/caddy is one. Tests are called with flags only.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}

// TestCommandsCanBeTyped goes through every command of every document. What can be run here is run as far as its help; of
// the rest the files, services and targets that it names are looked up. Recipes and first steps have tests of their own, which
// type them.
func TestCommandsCanBeTyped(t *testing.T) {
	typed := map[string]int{}
	for path, text := range documents(t) {
		for _, command := range commands(text) {
			if out, err := exec.CommandContext(t.Context(), "bash", "-n", "-c", command).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %s", path, command, out)
			}
			words := strings.Fields(regexp.MustCompile(`^(?:[A-Z_]+=\S* )*`).ReplaceAllString(command, ""))
			typed[words[0]]++
			if problem := problem(t, words); problem != "" {
				t.Errorf("%s: %s: %s", path, command, problem)
			}
		}
	}
	for _, program := range []string{"make", "curl", "bin/caddy", "podman", "./setup.sh", "./select_model.sh"} {
		if typed[program] == 0 {
			t.Errorf("no document says %s; is this test reading them?", program)
		}
	}
}

// commands returns the commands in a document's blocks of shell, each in one line or with its quoted lines, and those in
// its sentences and tables.
func commands(text string) []string {
	var found []string
	for _, block := range blocks(text) {
		if block.language != "sh" && block.language != "bash" {
			continue
		}
		command := ""
		for line := range strings.Lines(block.text) {
			if command == "" && (strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "") {
				continue
			}
			command += line
			if strings.Count(command, "'")%2 == 0 && strings.Count(command, `"`)%2 == 0 && !strings.HasSuffix(command, "\\\n") {
				found = append(found, strings.TrimSpace(regexp.MustCompile(`\s+#.*$`).ReplaceAllString(command, "")))
				command = ""
			}
		}
	}
	text = fenced.ReplaceAllString(text, "")
	for _, span := range regexp.MustCompile("`((?:bin/caddy|\\./\\w+\\.sh|podman|docker-compose|docker) ?[^`\n]*)`").FindAllStringSubmatch(text, -1) {
		if name := span[1]; strings.Contains(name, " ") || strings.HasPrefix(name, "./") {
			found = append(found, strings.NewReplacer(" [", " ", "]", "", "...", "").Replace(name))
		}
	}
	return found
}

// problem returns what is wrong with a command, or nothing.
func problem(t *testing.T, words []string) string {
	t.Helper()
	switch program := words[0]; program {
	case "set":
		// Of several commands in a line, the last is what the line is for.
		line := strings.Join(words, " ")
		return problem(t, strings.Fields(line[strings.LastIndex(line, ";")+1:]))
	case "make", "curl", "export", "git", "cd":
		return "" // TestMakeTargetsExist and the tests of what curl asks for look at them
	case "cp":
		return missingFile(words[1])
	case "echo":
		return "" // TestKeysOfATeamOpen runs it
	case "chmod":
		if strings.HasPrefix(words[2], "keys/") {
			return "" // and this
		}
		return missingFile(words[len(words)-1])
	case "bin/caddy", "caddy":
		return problemOfCaddy(t, words[1:])
	case "podman", "docker", "docker-compose":
		return problemOfEngine(t, words)
	default:
		if !strings.HasPrefix(program, "./") {
			return "this test does not know how to look at it"
		}
		out, err := exec.CommandContext(t.Context(), filepath.Join(root, program), "--help").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), strings.TrimPrefix(program, "./")) {
			return string(out)
		}
		return ""
	}
}

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func missingFile(name string) string {
	if _, err := os.Stat(filepath.Join(root, name)); err != nil {
		return err.Error()
	}
	return ""
}

// problemOfCaddy asks Caddy for the command's help, which must be about this command and know its flags.
func problemOfCaddy(t *testing.T, args []string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if len(args) == 0 || len(args) == 1 && args[0] == "llm" {
		return ""
	}
	path := args[:1]
	if args[0] == "llm" {
		path = args[:2]
	}
	if name := path[len(path)-1]; name == strings.ToUpper(name) {
		return "" // it stands for any
	}
	cmd := exec.CommandContext(t.Context(), self, append(slices.Clone(path), "--help")...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	help, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(help), "\n  caddy "+strings.Join(path, " ")+" ") {
		return "Caddy has no such command"
	}
	for _, arg := range args[len(path):] {
		if flag, _, _ := strings.Cut(arg, "="); strings.HasPrefix(flag, "-") && !strings.Contains(string(help), flag) {
			return "the command has no flag " + flag
		}
	}
	for i, arg := range args {
		if arg == "--config" && i+1 < len(args) && args[i+1] != "-" {
			return missingFile(args[i+1])
		}
	}
	return ""
}

// problemOfEngine looks up the files, services and targets that a command for podman or docker names.
func problemOfEngine(t *testing.T, words []string) string {
	t.Helper()
	compose, dockerfile := read(t, "compose.yml"), read(t, "Dockerfile")
	args := words[1:]
	if words[0] == "docker-compose" || args[0] == "compose" {
		if args[0] == "compose" {
			args = args[1:]
		}
		for i, arg := range args {
			if arg == "-f" {
				if problem := missingFile(args[i+1]); problem != "" {
					return problem
				}
			}
		}
		args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "-") || strings.HasSuffix(arg, ".yml") })
		if !slices.Contains([]string{"up", "down", "ps", "logs", "build", "pull", "restart", "config"}, args[0]) {
			return "compose has no command " + args[0]
		}
		for _, service := range args[1:] {
			if !strings.Contains(compose, "\n  "+service+":\n") {
				return "compose.yml has no service " + service
			}
		}
		return ""
	}
	switch args[0] {
	case "logs", "exec":
		args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--interactive" })
		if !strings.Contains(compose, "container_name: "+args[1]+"\n") {
			return "compose.yml has no container " + args[1]
		}
		if args[0] == "exec" && args[2] == "caddy" {
			return problemOfCaddy(t, args[3:])
		}
		if args[0] == "exec" && strings.HasPrefix(args[2], "llmgateway-") {
			return missingFile("deploy/container/" + args[2])
		}
		return ""
	case "build", "buildx":
		for i, arg := range args {
			if arg == "--target" && !strings.Contains(dockerfile, " AS "+args[i+1]+"\n") {
				return "the Dockerfile has no stage " + args[i+1]
			}
			if name, _, _ := strings.Cut(args[min(i+1, len(args)-1)], "="); arg == "--build-arg" && !strings.Contains(dockerfile, "\nARG "+name+"=") {
				return "the Dockerfile has no argument " + name
			}
		}
		return ""
	case "image", "network", "volume", "run":
		return ""
	default:
		return "this test does not know " + args[0]
	}
}
