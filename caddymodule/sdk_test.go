package caddymodule

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// repository is the repository's root, seen from here.
const repository = ".."

// run starts Caddy as `make run` does, with the repository's own Caddyfile and model, but on ports of its own. It returns
// the API's base URL.
func run(t *testing.T) string {
	t.Helper()
	starterModel(t)
	_, port, _ := net.SplitHostPort(freeAddress(t))
	_, tlsPort, _ := net.SplitHostPort(freeAddress(t))
	runRepository(t, newGateway(t), "LLM_PORT="+port, "HTTPS_PORT="+tlsPort)
	url := "http://localhost:" + port
	await(t, "a loaded model", func() bool {
		resp, err := http.Get(url + "/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return url + "/v1"
}

// runRepository starts Caddy with the repository's own Caddyfile, as a process of its own in the gateway's folder, and with
// no other environment than the one that is given and what a program needs anywhere. It returns what Caddy prints.
func runRepository(t *testing.T, g *gateway, env ...string) *lockedBuffer {
	t.Helper()
	cmd := exec.Command(executable(t), "run", "--config", "Caddyfile")
	cmd.Dir = repository
	cmd.Env = repositoryEnv(g, env...)
	output := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.cmd = cmd
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			text := regexp.MustCompile(`(?m)^.*"http\.log\.access".*\n`).ReplaceAllString(output.String(), "")
			t.Errorf("Caddy ended: %v, after:\n%s", err, text)
		}
	})
	g.configured()
	return output
}

// repositoryEnv returns the environment of a Caddy with the repository's Caddyfile.
func repositoryEnv(g *gateway, env ...string) []string {
	kept := []string{"CADDY_ADMIN=" + g.admin, "XDG_RUNTIME_DIR=" + g.dir, "XDG_DATA_HOME=" + g.dir, "XDG_CONFIG_HOME=" + g.dir}
	for _, name := range []string{"PATH", "HOME", "LLAMA_SERVER", "XDG_CACHE_HOME", "GORACE"} {
		if value, ok := os.LookupEnv(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	return append(kept, env...)
}

func executable(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNodeSDKWorksWithTheRepositorysCaddyfile(t *testing.T) {
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(filepath.Join(repository, "test", "node", "node_modules")); err != nil || missing != nil {
		const what = "there is no node, or its SDK is not installed; `make test` installs both"
		if os.Getenv("CI") != "" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	cmd := exec.Command(node, "--test")
	cmd.Dir = filepath.Join(repository, "test", "node")
	cmd.Env = append(os.Environ(), "GATEWAY_URL="+run(t))
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("node --test: %v\n%s", err, output)
	}
	if !strings.Contains(string(output), "pass 39") {
		t.Errorf("node ran other tests than expected:\n%s", output)
	}
}

func TestGoSDKWorksWithTheRepositorysCaddyfile(t *testing.T) {
	client := openai.NewClient(option.WithBaseURL(run(t)), option.WithAPIKey("not-needed"), option.WithMaxRetries(0))
	params := openai.ChatCompletionNewParams{
		Model:    "auto",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("The code word is walrus.")},
	}
	const want = "The code word is: walrus"
	answer, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Choices[0].Message.Content; got != want {
		t.Errorf("got answer %q, want %q", got, want)
	}
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	var whole openai.ChatCompletionAccumulator
	for stream.Next() {
		whole.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if got := whole.Choices[0].Message.Content; got != want {
		t.Errorf("got stream %q, want %q", got, want)
	}
	params.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
		openai.TextContentPart("Hello"),
		openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: redDot}),
	})}
	answer, err = client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := answer.Choices[0].Message.Content, "The image is red."; got != want {
		t.Errorf("got answer %q, want %q", got, want)
	}
	if _, err := client.Models.Get(t.Context(), "nobody"); err == nil {
		t.Error("got a model that does not exist")
	}
}
