package doctor

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

// versionTime is how long llama-server may take to tell its version; it looks for GPUs before.
const versionTime = 20 * time.Second

// versionLine is what llama-server prints of itself, among other things.
var versionLine = regexp.MustCompile(`(?m)^version: (.+)$`)

// Server looks for llama-server, as the gateway does, and asks for its version. configured is the path in the configuration,
// or empty.
func Server(ctx context.Context, configured string) Finding {
	f := Finding{Area: "llama-server", Subject: configured, Verdict: Failure}
	path, err := local.FindServer(configured)
	if err != nil {
		f.Detail = err.Error()
		f.Advice = "build it with `make llama-server`, or set LLAMA_SERVER to its path"
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	out, err := local.VersionCommand(ctx, path).CombinedOutput()
	if version := versionLine.FindSubmatch(out); version != nil && err == nil {
		f.Verdict, f.Detail = OK, path+", version "+strings.TrimSpace(string(version[1]))
		return f
	}
	switch exit, exited := errors.AsType[*exec.ExitError](err); {
	case ctx.Err() != nil:
		f.Detail = path + " does not tell its version within " + versionTime.String()
	case exited:
		f.Detail = path + " cannot be started: " + exit.String()
	case err != nil:
		f.Detail = path + " cannot be started: " + reason(err)
	default:
		f.Detail = path + " does not tell its version, and may be another program"
	}
	f.Advice = "try it by hand with --version; often a library is missing: build it again with `make llama-server`"
	return f
}
