package route

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// abc returns targets with a State, whose names are letters.
func abc(n int) []*Target {
	targets := make([]*Target, n)
	for i := range targets {
		targets[i] = &Target{Name: string(rune('a' + i)), Provider: does("x"), State: new(State)}
	}
	return targets
}

// picks returns the names of what a policy takes n times.
func picks(p Policy, candidates []*Target, n int) string {
	var names strings.Builder
	for range n {
		names.WriteString(p.Select(candidates, chat("m")).Name)
	}
	return names.String()
}

func bound(t *testing.T, b Binder, targets []*Target) Policy {
	t.Helper()
	p, err := b.Bind(targets)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRoundRobinTakesTurns(t *testing.T) {
	targets := abc(3)
	p := bound(t, RoundRobin{}, targets)
	if got, want := picks(p, targets, 7), "abcabca"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// While b is down the others share its turns, and it has none to catch up on.
	if got, want := picks(p, []*Target{targets[0], targets[2]}, 6), "ccacac"; got != want { // the last one was a's
		t.Errorf("got %s, want %s", got, want)
	}
	got := picks(p, targets, 9)
	for _, name := range []string{"a", "b", "c"} {
		if n := strings.Count(got, name); n != 3 {
			t.Errorf("got %s, want every target 3 times", got)
		}
	}
}

func TestWeightedTakesTurnsByWeight(t *testing.T) {
	targets := abc(3)
	p := bound(t, Weighted{Weights: []int{3, 1, 0}}, targets)
	if got, want := picks(p, targets, 8), "aabaaaba"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := picks(p, targets[2:], 2); got != "cc" {
		t.Errorf("got %s, want who is left", got)
	}
	if got := picks(p, targets[1:], 2); got != "bb" {
		t.Errorf("got %s, want who has a weight", got)
	}
}

func TestTargetWithoutAWeightIsLast(t *testing.T) {
	targets := abc(3)
	p := bound(t, Weighted{Weights: []int{1, 3, 0}}, targets)
	if got := picks(p, targets, 2); got != "ba" {
		t.Fatalf("got %s, want ba", got)
	}
	if got := picks(p, []*Target{targets[0], targets[2]}, 1); got != "a" { // though it has had its turn
		t.Errorf("got %s, want a", got)
	}
}

func TestWeightsMustMatchTheTargets(t *testing.T) {
	for want, weights := range map[string][]int{
		"there are 1 weights for 2 targets; write one for each, in order": {1},
		"there are 3 weights for 2 targets; write one for each, in order": {1, 2, 3},
		"the weight -1 is negative":                                       {1, -1},
		"all weights are 0":                                               {0, 0},
	} {
		if _, err := (Weighted{Weights: weights}).Bind(abc(2)); err == nil || err.Error() != want {
			t.Errorf("%v: got %v, want %s", weights, err, want)
		}
	}
}

func TestRandomTakesAny(t *testing.T) {
	targets := abc(3)
	for _, p := range []Policy{Random{}, LeastConn{}, RoundRobin{}, Weighted{}} {
		got := picks(p, targets, 300)
		for _, name := range []string{"a", "b", "c"} {
			if n := strings.Count(got, name); n < 50 { // less by chance once in 10^12
				t.Errorf("%T: %s was taken %d times of 300", p, name, n)
			}
		}
	}
}

func TestLeastConnTakesTheLeastBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets := abc(3)
		for i, name := range []time.Duration{30 * second, 20 * second, 10 * second} {
			targets[i].Provider = does(name, targets[i].Name)
		}
		r := &Router{Targets: targets, Policy: LeastConn{}}
		done := make(chan string, 10)
		start := func() {
			go func() { done <- ask(t.Context(), r, chat("m")).text }()
			synctest.Wait()
		}
		for range 6 {
			start()
		}
		for _, target := range targets {
			if n := target.State.InFlight(); n != 2 {
				t.Errorf("%s has %d requests, want 2", target.Name, n)
			}
		}
		time.Sleep(15 * second) // c is done
		for range 2 {
			start()
		}
		if n := targets[2].State.InFlight(); n != 2 {
			t.Errorf("c has %d requests, want 2", n)
		}
		time.Sleep(time.Minute)
		idle(t, targets...)
	})
}

func TestLeastLatencyTakesTheFastest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets := abc(3)
		for i, took := range []time.Duration{3 * second, second, 2 * second} {
			targets[i].Provider = does(took, targets[i].Name)
		}
		chance := 1.
		r := &Router{Targets: targets, Policy: LeastLatency{chance: func() float64 { return chance }}, Retries: -1}
		next := func() string { return ask(t.Context(), r, chat("m")).text }
		// First those that nothing is known of, then the fastest.
		if got := next() + next() + next() + next() + next(); got != "abcbb" {
			t.Errorf("got %s, want abcbb", got)
		}
		// One that has become slow is left, and one that was slow is found again when chance has it looked at.
		targets[1].Provider = does(10*second, "b")
		time.Sleep(time.Minute)
		if got := next() + next(); got != "bc" {
			t.Errorf("got %s, want bc", got)
		}
		targets[0].Provider = does(second/10, "a")
		if got := next(); got != "c" {
			t.Errorf("got %s, want c", got)
		}
		chance = 0
		if got := next(); got != "a" {
			t.Errorf("got %s, want what was not heard of for longest", got)
		}
		chance = 1
		if got := next() + next(); got != "aa" {
			t.Errorf("got %s, want aa", got)
		}
		// A failure is not fast.
		targets[0].Provider = does(fails(llmgateway.Upstream))
		time.Sleep(time.Minute)
		for range 9 {
			if got := next(); got != "c" {
				t.Errorf("got %s, want c", got)
			}
		}
		if asked := targets[0].Provider.(*script).asked(); asked > 3 {
			t.Errorf("a was asked %d times, though it fails", asked)
		}
	})
}

func TestLeastLatencyTriesWhatIsUnknownOnceAtATime(t *testing.T) {
	targets := abc(3)
	p := LeastLatency{chance: always(1)}
	var got []string
	for range 3 {
		c, _ := p.Select(targets, chat("m")).enter(false)
		got = append(got, c.Name)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLeastLatencyTellsStreamsFromWholeAnswers(t *testing.T) {
	targets := abc(2)
	targets[0].State.took(second, true, false)
	targets[1].State.took(2*second, true, false)
	targets[0].State.took(9*second, false, false)
	targets[1].State.took(8*second, false, false)
	p := LeastLatency{chance: always(1)}
	whole := chat("m")
	whole.Stream = false
	if a, b := p.Select(targets, chat("m")).Name, p.Select(targets, whole).Name; a != "a" || b != "b" {
		t.Errorf("got %s for streams and %s for whole answers, want a and b", a, b)
	}
}
