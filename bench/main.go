// Command bench measures what the gateway costs beside a plain reverse_proxy.
//
// It starts an upstream that answers at once and two Caddy processes in front of it, one with reverse_proxy and one with
// llm, sends both the same requests in turns, checks every answer, and prints the CPU time per request. CPU time holds on
// a busy machine, where wall-clock time does not; taking turns keeps what is left of the noise out of the ratio.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	caddy    string // the program to measure; built if empty
	against  string // the program to compare it with, instead of reverse_proxy
	quick    bool
	features bool // with cache, breaker and limits
	only     string
	profile  string
	rounds   int
}

func main() {
	var o options
	flag.StringVar(&o.caddy, "caddy", "", "measure this `program` instead of building ./caddymodule/cmd/caddy")
	flag.StringVar(&o.against, "against", "", "compare with llm in this `program`, such as an earlier build, instead of with reverse_proxy")
	flag.BoolVar(&o.quick, "quick", false, "take about 20 seconds instead of two minutes")
	flag.BoolVar(&o.features, "features", false, "switch on cache, breaker and limits for llm; the cache never has the answer, and the target is 1.1 times reverse_proxy")
	flag.StringVar(&o.only, "only", "", "measure only these `shapes`, as in small,1-MB,small-first-token-limit")
	flag.StringVar(&o.profile, "profile", "", "write profiles of CPU time and allocations of the llm process to this `folder`")
	flag.IntVar(&o.rounds, "rounds", 0, "measure in this many rounds, instead of 12, or 4 with -quick")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if o.rounds == 0 {
		o.rounds = 12
		if o.quick {
			o.rounds = 4
		}
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Nothing here takes that long; it is for a gateway that hangs.
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	shapes := newShapes()
	heavy := shapes[slices.IndexFunc(shapes, func(s *shape) bool { return s.name == memoryShape })]
	if o.only != "" {
		shapes = slices.DeleteFunc(shapes, func(s *shape) bool { return !slices.Contains(strings.Split(o.only, ","), s.file()) })
	}
	if len(shapes) == 0 {
		return fmt.Errorf("no shape is called %s", o.only)
	}
	work, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if o.caddy == "" {
		if o.caddy, err = build(ctx, work); err != nil {
			return err
		}
	}
	upstream, err := newMock()
	if err != nil {
		return err
	}
	defer upstream.close()

	sites := gatewaySites
	if o.features {
		sites = featuresSites
		for _, s := range shapes {
			s.target, s.uncached = s.targetWithFeatures(), true
		}
	}
	sides := [2]side{{"reverse_proxy", o.caddy, proxySites}, {"llm", o.caddy, sites}}
	if o.against != "" {
		sides[0] = side{"llm in " + filepath.Base(o.against), o.against, sites}
	}
	fmt.Printf("%d cores, %s %s/%s, %d rounds\n\n", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, o.rounds)
	results, err := measureAll(ctx, o, sides, shapes, work, upstream)
	if err != nil {
		return err
	}
	printTable(os.Stdout, sides, results)
	var memory [2]memoryUse
	for i, side := range sides {
		if memory[i], err = measureMemory(ctx, side, work, heavy, upstream); err != nil {
			return fmt.Errorf("memory, %s: %w", side.name, err)
		}
	}
	printMemory(os.Stdout, sides, memory)
	if o.against == "" {
		printTargets(os.Stdout, results, memory[1])
		return printClient(os.Stdout)
	}
	return nil
}

// build compiles Caddy as it is in the checkout.
func build(ctx context.Context, work string) (string, error) {
	program := filepath.Join(work, "caddy")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/bytebot-llmgateway/bytebot-llmgateway/caddymodule/cmd/caddy")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building caddy: %w", err)
	}
	return program, nil
}

// measureAll measures the shapes one after the other, both sides in turns.
func measureAll(ctx context.Context, o options, sides [2]side, shapes []*shape, work string, upstream *mock) ([]result, error) {
	var running [2]*caddy
	for i, side := range sides {
		c, err := startCaddy(ctx, side, work, upstream.address())
		if err != nil {
			return nil, err
		}
		defer c.stop()
		running[i] = c
	}
	var results []result
	for _, s := range shapes {
		fmt.Fprintf(os.Stderr, "measuring %s\n", s.name)
		r, err := measure(ctx, running, s, o.rounds, upstream)
		if err == nil && o.profile != "" {
			err = profile(ctx, o.profile, running[1], s, upstream)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// measure measures one shape. Round 0 warms up.
func measure(ctx context.Context, running [2]*caddy, s *shape, rounds int, upstream *mock) (result, error) {
	r := result{shape: s}
	for round := range rounds + 1 {
		order := []int{0, 1}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			c := running[i]
			before, err := c.cpuTime()
			if err != nil {
				return r, err
			}
			latencies, err := load(ctx, c.url(s), s, s.requests, upstream)
			if err != nil {
				return r, fmt.Errorf("%s: %w", c.side.name, err)
			}
			after, err := c.cpuTime()
			if err != nil {
				return r, err
			}
			if round > 0 {
				r.cpu[i] = append(r.cpu[i], (after-before)/time.Duration(s.requests))
				r.latencies[i] = append(r.latencies[i], latencies...)
			}
		}
	}
	return r, nil
}

// measureMemory starts a fresh process, so that nothing but the one shape is in its peak.
func measureMemory(ctx context.Context, side side, work string, s *shape, upstream *mock) (memoryUse, error) {
	c, err := startCaddy(ctx, side, work, upstream.address())
	if err != nil {
		return memoryUse{}, err
	}
	defer c.stop()
	before, err := c.memory()
	if err != nil {
		return memoryUse{}, err
	}
	if _, err := load(ctx, c.url(s), s, memoryRequests, upstream); err != nil {
		return memoryUse{}, err
	}
	after, err := c.memory()
	return memoryUse{idle: before.idle, peak: after.peak}, err
}

// profile runs more load, which is not measured, for as long as the profiles take.
func profile(ctx context.Context, folder string, c *caddy, s *shape, upstream *mock) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := load(ctx, c.url(s), s, s.requests, upstream); err != nil && ctx.Err() == nil {
				loaded <- err
				return
			}
		}
		loaded <- nil
	}()
	file := filepath.Join(folder, s.file())
	err := errors.Join(c.profile(ctx, "profile", file+".cpu"), c.profile(ctx, "allocs", file+".allocs"))
	cancel()
	return errors.Join(err, <-loaded)
}
