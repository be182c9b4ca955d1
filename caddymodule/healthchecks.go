package caddymodule

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

// HealthChecks says when a target counts as down. One that is down is asked last; when it has rested, one request tries
// whether it has recovered. What was seen of a target outlives reloads, and all handlers share it.
type HealthChecks struct {
	// How long a target rests after the failure that took it down. If its provider says how long (Retry-After), it rests as
	// long as that, but not longer than 5 minutes. Failures are lost connections, answers that break, deadlines that pass, and
	// the statuses below; what is wrong with a request, clients that leave and full queues of local models are none. Default:
	// failures do not count.
	FailDuration caddy.Duration `json:"fail_duration,omitempty"`

	// How many failures in a row take a target down. Default: 1, or no number if there is a max_fail_rate.
	MaxFails int `json:"max_fails,omitempty"`

	// How many percent of the requests of the last minute must have failed to take a target down. Default: no rate does.
	MaxFailRate float64 `json:"max_fail_rate,omitempty"`

	// How many requests there must have been in the last minute for max_fail_rate to count. Default: 10.
	FailRateRequests int `json:"fail_rate_requests,omitempty"`

	// The statuses of a provider that are failures; a number from 4 to 5 means all statuses that begin with it. Default: 401,
	// 402, 408, 429 and 5.
	UnhealthyStatus []int `json:"unhealthy_status,omitempty"`

	// An answer is a failure if the first token of its stream took longer. Default: no bound.
	UnhealthyLatency caddy.Duration `json:"unhealthy_latency,omitempty"`

	// How many requests a target may have at once; further ones go to the next target. Default: no bound.
	UnhealthyRequestCount int `json:"unhealthy_request_count,omitempty"`

	// How often remote providers are asked for their list of models. A provider that does not answer, answers 5xx, or refuses
	// our key is down until it answers otherwise. Default: never.
	HealthInterval caddy.Duration `json:"health_interval,omitempty"`

	// How long it may take to answer that. Default: 5s.
	HealthTimeout caddy.Duration `json:"health_timeout,omitempty"`
}

const (
	defaultHealthTimeout    = 5 * time.Second
	defaultFailRateRequests = 10
)

// over returns c with what it leaves out taken from base. Both may be nil.
func (c *HealthChecks) over(base *HealthChecks) *HealthChecks {
	if c == nil {
		c = new(HealthChecks)
	}
	if base == nil {
		base = new(HealthChecks)
	}
	merged := HealthChecks{
		FailDuration:          cmp.Or(c.FailDuration, base.FailDuration),
		MaxFails:              cmp.Or(c.MaxFails, base.MaxFails),
		MaxFailRate:           cmp.Or(c.MaxFailRate, base.MaxFailRate),
		FailRateRequests:      cmp.Or(c.FailRateRequests, base.FailRateRequests),
		UnhealthyStatus:       base.UnhealthyStatus,
		UnhealthyLatency:      cmp.Or(c.UnhealthyLatency, base.UnhealthyLatency),
		UnhealthyRequestCount: cmp.Or(c.UnhealthyRequestCount, base.UnhealthyRequestCount),
		HealthInterval:        cmp.Or(c.HealthInterval, base.HealthInterval),
		HealthTimeout:         cmp.Or(c.HealthTimeout, base.HealthTimeout),
	}
	if c.UnhealthyStatus != nil {
		merged.UnhealthyStatus = c.UnhealthyStatus
	}
	return &merged
}

// validate reports what makes no sense.
func (c *HealthChecks) validate() error {
	for _, number := range []float64{
		float64(c.FailDuration), float64(c.MaxFails), c.MaxFailRate, float64(c.FailRateRequests), float64(c.UnhealthyLatency),
		float64(c.UnhealthyRequestCount), float64(c.HealthInterval), float64(c.HealthTimeout),
	} {
		if number < 0 {
			return errors.New("health checks: a number is negative")
		}
	}
	if c.MaxFailRate > 100 {
		return errors.New("max_fail_rate: write a percentage up to 100")
	}
	if word := c.uncounted(); word != "" {
		return errors.New(word + " needs fail_duration, which says how long a target rests")
	}
	if c.HealthTimeout != 0 && c.HealthInterval == 0 {
		return errors.New("health_timeout needs health_interval")
	}
	for _, status := range c.UnhealthyStatus {
		if status != 4 && status != 5 && (status < 400 || status > 599) {
			return errors.New("unhealthy_status: write statuses from 400 to 599, 4xx or 5xx")
		}
	}
	return nil
}

// uncounted returns a word that says what failures are, though they do not count, or "".
func (c *HealthChecks) uncounted() string {
	switch {
	case c.FailDuration != 0:
		return ""
	case c.MaxFails != 0:
		return "max_fails"
	case c.MaxFailRate != 0:
		return "max_fail_rate"
	case c.UnhealthyStatus != nil:
		return "unhealthy_status"
	case c.UnhealthyLatency != 0:
		return "unhealthy_latency"
	default:
		return ""
	}
}

// breaker returns the core's breaker for the targets of a model, or nil if nothing is to be checked.
func (c *HealthChecks) breaker(model string) *route.Breaker {
	if c.FailDuration == 0 && c.UnhealthyRequestCount == 0 && c.HealthInterval == 0 {
		return nil
	}
	b := &route.Breaker{
		Rest:          time.Duration(c.FailDuration),
		MaxFails:      c.MaxFails,
		MaxFailRate:   c.MaxFailRate / 100,
		MinResults:    cmp.Or(c.FailRateRequests, defaultFailRateRequests),
		Statuses:      c.UnhealthyStatus,
		Latency:       time.Duration(c.UnhealthyLatency),
		MaxRequests:   c.UnhealthyRequestCount,
		CheckInterval: time.Duration(c.HealthInterval),
		Changed:       changed(model),
	}
	if b.MaxFails == 0 && b.MaxFailRate == 0 {
		b.MaxFails = 1
	}
	return b
}

// routingWords are the words that unmarshalRouting knows.
const routingWords = "lb_policy, lb_retries, lb_try_duration, lb_try_interval, hedge_after, hedge_budget, fail_duration, max_fails, max_fail_rate, " +
	"unhealthy_status, unhealthy_latency, unhealthy_request_count, health_interval, health_timeout"

// unmarshalRouting parses one of the words that llm and a model have in common, and reports whether it was one.
func unmarshalRouting(d *caddyfile.Dispenser, lb **LoadBalancing, checks **HealthChecks) (known bool, err error) {
	if known, err = unmarshalLoadBalancing(d, lb); known {
		return true, err
	}
	return unmarshalHealthChecks(d, checks)
}

// unmarshalHealthChecks parses one of the words of health checks into what checks points to, and reports whether it was one.
func unmarshalHealthChecks(d *caddyfile.Dispenser, checks **HealthChecks) (known bool, err error) {
	c := *checks
	if c == nil {
		c = new(HealthChecks)
	}
	switch d.Val() {
	case "fail_duration":
		err = unmarshalPositiveDuration(d, &c.FailDuration)
	case "max_fails":
		err = unmarshalPositiveInt(d, &c.MaxFails)
	case "max_fail_rate":
		err = c.unmarshalRate(d)
	case "unhealthy_status":
		err = c.unmarshalStatus(d)
	case "unhealthy_latency":
		err = unmarshalPositiveDuration(d, &c.UnhealthyLatency)
	case "unhealthy_request_count":
		err = unmarshalPositiveInt(d, &c.UnhealthyRequestCount)
	case "health_interval":
		err = unmarshalPositiveDuration(d, &c.HealthInterval)
	case "health_timeout":
		err = unmarshalPositiveDuration(d, &c.HealthTimeout)
	default:
		return false, nil
	}
	*checks = c
	return true, err
}

// unmarshalRate parses `max_fail_rate <percent> [<requests>]`.
func (c *HealthChecks) unmarshalRate(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return d.ArgErr()
	}
	rate, err := strconv.ParseFloat(strings.TrimSuffix(args[0], "%"), 64)
	if err != nil || !(rate > 0 && rate <= 100) {
		return d.Errf("max_fail_rate: %q is not a percentage above 0, such as 50%%", args[0])
	}
	c.MaxFailRate = rate
	if len(args) == 2 {
		if c.FailRateRequests, err = strconv.Atoi(args[1]); err != nil || c.FailRateRequests <= 0 {
			return d.Errf("max_fail_rate: %q is not a number of requests", args[1])
		}
	}
	return nil
}

// unmarshalStatus parses `unhealthy_status <status...>`.
func (c *HealthChecks) unmarshalStatus(d *caddyfile.Dispenser) error {
	for d.NextArg() {
		status, err := strconv.Atoi(strings.TrimSuffix(d.Val(), "xx"))
		if class := strings.HasSuffix(d.Val(), "xx"); err != nil || class != (status < 10) {
			return d.Errf("unhealthy_status: %q is not a status such as 429 or 5xx", d.Val())
		}
		c.UnhealthyStatus = append(c.UnhealthyStatus, status)
	}
	if c.UnhealthyStatus == nil {
		return d.ArgErr()
	}
	return nil
}
