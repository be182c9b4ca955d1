// Command local measures how fast a local model is through the gateway, beside the same llama-server asked directly.
//
// It starts Caddy with one local model, finds the socket of the llama-server that the gateway runs, and sends both the same
// work in turns: prompts with hardly any answer, and answers with hardly any prompt. The ratio of the two speeds in one round
// is what counts: what else happens on the machine happens to both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"
)

type options struct {
	caddy  string // the program to measure; built if empty
	model  string // a GGUF file; written if empty
	rounds int
	tokens int // of each prompt, and of each answer
}

// target is the least that the gateway's speed may be, as a part of the speed without it.
const target = 0.97

func main() {
	var o options
	flag.StringVar(&o.caddy, "caddy", "", "measure this `program` instead of building ./caddymodule/cmd/caddy")
	flag.StringVar(&o.model, "model", "", "measure with this GGUF `file` instead of random weights in the shape of a model of half a billion")
	flag.IntVar(&o.rounds, "rounds", 5, "measure in this many rounds")
	flag.IntVar(&o.tokens, "tokens", 64, "make prompts and answers this long")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.tokens < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	work, err := os.MkdirTemp("", "llmb") // short: a socket's path goes into it
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if o.model == "" {
		o.model = filepath.Join(work, "half-a-billion.gguf")
		if err := writeModel(o.model); err != nil {
			return err
		}
	}
	if o.caddy == "" {
		if o.caddy, err = build(ctx, work); err != nil {
			return err
		}
	}
	g, err := start(ctx, o.caddy, o.model, work)
	if err != nil {
		return err
	}
	defer g.stop()
	fmt.Printf("%d cores, %s, %d rounds of %d tokens\n\n", runtime.NumCPU(), filepath.Base(o.model), o.rounds, o.tokens)
	fmt.Printf("%-12s %7s   %10s %10s   %s\n", "", "at once", "direct", "gateway", "gateway / direct, median (all rounds)")
	met := true
	for _, kind := range []kind{prompts, answers} {
		for _, atOnce := range []int{1, 4, 8} {
			var speeds [2][]float64
			var ratios []float64
			for round := range o.rounds + 1 {
				pair, err := measure(ctx, g, kind, atOnce, o.tokens, round)
				if err != nil {
					return err
				}
				if round == 0 {
					continue // warms up
				}
				speeds[0], speeds[1] = append(speeds[0], pair[0]), append(speeds[1], pair[1])
				ratios = append(ratios, pair[1]/pair[0])
			}
			slices.Sort(ratios)
			ratio := median(ratios)
			met = met && ratio >= target
			fmt.Printf("%-12s %7d   %6.1f t/s %6.1f t/s   %.3f (%.3f to %.3f)\n",
				kind, atOnce, median(speeds[0]), median(speeds[1]), ratio, ratios[0], ratios[len(ratios)-1])
		}
	}
	if !met {
		return fmt.Errorf("the target of %.2f was missed", target)
	}
	return nil
}

// measure returns the speeds of one round in tokens per second, asked directly and through the gateway.
func measure(ctx context.Context, g *gateway, kind kind, atOnce, tokens, round int) (speeds [2]float64, err error) {
	order := []int{0, 1}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	for _, i := range order {
		began := time.Now()
		done, err := load(ctx, g.clients[i], kind, atOnce, tokens, round)
		if err != nil {
			return speeds, fmt.Errorf("%s, %s: %w", kind, g.clients[i].name, err)
		}
		if done == 0 {
			return speeds, errors.New("no tokens were counted")
		}
		speeds[i] = float64(done) / time.Since(began).Seconds()
	}
	return speeds, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}
