// Package doctor looks for what keeps a gateway from working, and says how to mend it: keys, clocks, model files, memory,
// ports, folders, certificates, and llama-server.
//
// Its functions each look at one thing and return what they found. What they say holds no secrets.
package doctor

import (
	"cmp"
	"slices"
)

// Verdict is how bad a finding is.
type Verdict string

const (
	// OK means that all is well.
	OK Verdict = "ok"
	// Warning means that the gateway works, but not as it might be meant to.
	Warning Verdict = "warning"
	// Failure means that something does not work.
	Failure Verdict = "failure"
)

// Finding is what was found out about one thing.
type Finding struct {
	// Area is what was looked at, such as "provider" or "port".
	Area string `json:"area"`
	// Subject is which one of them.
	Subject string  `json:"subject,omitempty"`
	Verdict Verdict `json:"verdict"`
	// Detail says what was found.
	Detail string `json:"detail"`
	// Advice says how to mend it; empty if there is nothing to mend.
	Advice string `json:"advice,omitempty"`
}

// Report is all that was found.
type Report struct {
	// Healthy is true if nothing failed.
	Healthy  bool      `json:"healthy"`
	Findings []Finding `json:"findings"`
}

// NewReport puts findings together, each area's where its first one is.
func NewReport(findings []Finding) Report {
	r := Report{Healthy: true, Findings: slices.Clone(findings)}
	order := make(map[string]int)
	for i, f := range findings {
		if _, ok := order[f.Area]; !ok {
			order[f.Area] = i
		}
		r.Healthy = r.Healthy && f.Verdict != Failure
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(order[a.Area], order[b.Area]) })
	return r
}

// Count returns how many findings have a verdict.
func (r Report) Count(v Verdict) (n int) {
	for _, f := range r.Findings {
		if f.Verdict == v {
			n++
		}
	}
	return n
}
