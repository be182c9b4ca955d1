package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

const (
	// memoryShape is sent memoryRequests times to a fresh process.
	memoryShape    = "1 MB"
	memoryRequests = 200
	memoryTarget   = 100 // MB
)

// result is what was measured of one shape, by side.
type result struct {
	shape     *shape
	cpu       [2][]time.Duration // per request, by round
	latencies [2][]time.Duration // of all requests
}

// ratios returns the second side's CPU time over the first's, by round, smallest first. Rounds are compared with
// themselves because the machine may change its pace in between.
func (r *result) ratios() []float64 {
	ratios := make([]float64, len(r.cpu[0]))
	for i := range ratios {
		ratios[i] = float64(r.cpu[1][i]) / float64(r.cpu[0][i])
	}
	slices.Sort(ratios)
	return ratios
}

// quantile returns the value that a fraction of the sorted values lie below, between two of them if need be.
func quantile[T ~int64 | ~float64](sorted []T, fraction float64) T {
	position := fraction * float64(len(sorted)-1)
	below := int(position)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + T((position-float64(below))*float64(sorted[above]-sorted[below]))
}

func printTable(w io.Writer, sides [2]side, results []result) {
	fmt.Fprintf(w, "%-25s %7s   %-29s %-29s %s\n", "", "", sides[0].name, sides[1].name, "CPU, median and")
	fmt.Fprintf(w, "%-25s %7s   %-9s %-9s %-9s %-9s %-9s %-9s %s\n", "request", "at once", "CPU ms", "p50 ms", "p99 ms", "CPU ms", "p50 ms", "p99 ms", "middle half of the rounds")
	for _, r := range results {
		fmt.Fprintf(w, "%-25s %7d  ", r.shape.name, r.shape.atOnce)
		for side := range 2 {
			cpu, latencies := slices.Sorted(slices.Values(r.cpu[side])), slices.Sorted(slices.Values(r.latencies[side]))
			fmt.Fprintf(w, " %-9s %-9s %-9s", ms(quantile(cpu, 0.5)), ms(quantile(latencies, 0.5)), ms(quantile(latencies, 0.99)))
		}
		ratios := r.ratios()
		fmt.Fprintf(w, " %.2fx (%.2f to %.2f)\n", quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75))
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()*1000) }

func printMemory(w io.Writer, sides [2]side, memory [2]memoryUse) {
	fmt.Fprintf(w, "\nmemory of a fresh process, %d requests with 1 MB, four at once\n", memoryRequests)
	for side, m := range memory {
		fmt.Fprintf(w, "  %-14s idle %3d MB, peak %3d MB\n", sides[side].name, m.idle>>20, m.peak>>20)
	}
}

// printTargets says for each target whether it is met.
func printTargets(w io.Writer, results []result, memory memoryUse) {
	fmt.Fprintln(w)
	for _, r := range results {
		if r.shape.target > 0 {
			ratio := quantile(r.ratios(), 0.5)
			fmt.Fprintf(w, "%-10s %.2fx the CPU time of reverse_proxy, target %.2fx: %s\n", r.shape.name, ratio, r.shape.target, verdict(ratio <= r.shape.target))
		}
	}
	fmt.Fprintf(w, "%-10s %d MB at most, target below %d MB: %s\n", "memory", memory.peak>>20, memoryTarget, verdict(memory.peak>>20 < memoryTarget))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}
