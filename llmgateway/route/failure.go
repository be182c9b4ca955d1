package route

import (
	"errors"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// failure is why one target did not answer.
type failure struct {
	target  *Target
	err     *llmgateway.Error
	skipped bool // it was not asked
}

// summary makes one error of all that failed: it names every target and its reason, and keeps the kind if all that were
// asked agree.
func summary(failures []failure) *llmgateway.Error {
	asked := slices.DeleteFunc(slices.Clone(failures), func(f failure) bool { return f.skipped })
	if len(asked) == 0 {
		asked = gravest(failures)
	}
	all := *asked[0].err
	for _, f := range asked[1:] {
		if f.err.Kind != all.Kind {
			all.Kind = llmgateway.Upstream
		}
		if f.err.Param != all.Param {
			all.Param = ""
		}
		all.RetryAfter = min(all.RetryAfter, f.err.RetryAfter)
		all.Status, all.Code = 0, ""
	}
	var reasons []string
	var causes []error
	for _, f := range failures {
		if reason := f.target.Name + ": " + f.err.Message; !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
			causes = append(causes, f.err)
		}
	}
	all.Message = strings.Join(reasons, "; ")
	if len(failures) > 1 {
		all.Message = "every target failed: " + all.Message
	}
	all.Err = errors.Join(causes...)
	return &all
}

// gravest returns the failures of targets that were not asked which say most about the request: what it asks for nobody
// has, whoever else is switched off.
func gravest(failures []failure) []failure {
	// Those that are not for such a request say nothing of why the others cannot answer it.
	if meant := slices.DeleteFunc(slices.Clone(failures), failure.conditional); len(meant) > 0 {
		failures = meant
	}
	for _, kind := range []llmgateway.Kind{llmgateway.Unsupported, llmgateway.ContextLength, llmgateway.NoModel} {
		if of := slices.DeleteFunc(slices.Clone(failures), func(f failure) bool { return f.err.Kind != kind }); len(of) > 0 {
			return of
		}
	}
	return failures
}
