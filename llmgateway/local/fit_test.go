package local

import (
	"math"
	"testing"
)

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance*want }

func TestLineFindsBaseAndSlope(t *testing.T) {
	var l line
	if l.known() || l.at(10) != 0 {
		t.Error("a line is known before there are points")
	}
	l.add(100, 2)
	if got := l.at(50); !near(got, 1, 1e-9) {
		t.Errorf("one point: got %v, want 1", got)
	}
	for _, x := range []float64{10, 1000, 300, 10, 2000, 50} {
		l.add(x, 0.5+0.01*x)
	}
	for range 3 {
		l.add(500, 5.5)
	}
	base, slope := l.fit()
	if !near(base, 0.5, 0.3) || !near(slope, 0.01, 0.1) {
		t.Errorf("got %v + %v x, want about 0.5 + 0.01 x", base, slope)
	}
}

func TestLineForgivesOneBadPointAndFollowsAChange(t *testing.T) {
	var l line
	points := []float64{100, 2000, 500, 1500, 300}
	for range 4 {
		for _, x := range points {
			l.add(x, 0.1+0.001*x)
		}
	}
	l.add(1000, 60)    // the machine slept
	l.add(1000, 0.001) // the clock was set
	if got := l.at(1000); !near(got, 1.1, 0.15) {
		t.Errorf("after bad points: got %v, want about 1.1", got)
	}
	for range 12 {
		for _, x := range points {
			l.add(x, 0.2+0.002*x)
		}
	}
	if got := l.at(1000); !near(got, 2.2, 0.1) {
		t.Errorf("after a change: got %v, want about 2.2", got)
	}
}

func TestLineIsNeverNegative(t *testing.T) {
	var l line
	for i, y := range []float64{9, 5, 2, math.NaN(), math.Inf(1), -3, 0} {
		l.add(float64(i), y)
	}
	if base, slope := l.fit(); base < 0 || slope < 0 || math.IsNaN(base+slope) {
		t.Errorf("got %v + %v x", base, slope)
	}
}

func TestLengthsLearnFromAnswersThatWereCut(t *testing.T) {
	var l lengths
	if _, known := l.rest(0); known {
		t.Error("a length is known before there was an answer")
	}
	if got, known := l.rest(77); !known || got != 77 {
		t.Errorf("with a limit: got %v, %t, want 77", got, known)
	}
	for range 50 {
		l.add(100, true)
	}
	if got, _ := l.rest(0); !near(got, 100, 0.05) {
		t.Errorf("got %v, want about 100", got)
	}
	if got, _ := l.rest(10); !near(got, 9.5, 0.05) {
		t.Errorf("with a low limit: got %v, want about 9.5", got)
	}
	for range 100 {
		l.add(50, true)
		l.add(50, false) // as often cut as not: those would have been longer
	}
	if got, _ := l.rest(0); !near(got, 100, 0.1) {
		t.Errorf("with cut answers: got %v, want about 100", got)
	}
	for range 200 {
		l.add(20, false)
	}
	if got, _ := l.rest(300); !near(got, 300, 0.01) {
		t.Errorf("if all are cut: got %v, want the limit", got)
	}
}

func TestCurveFindsWhatDepthCosts(t *testing.T) {
	for _, bend := range []float64{0, 1.0 / 20000, 1.0 / 8192, 1.0 / 3000} {
		var c curve
		took := func(tokens, before float64) float64 { return 0.1 + 0.001*tokens*(1+bend*(before+tokens/2)) }
		for _, p := range [][2]float64{{300, 0}, {4000, 0}, {500, 4000}, {200, 9000}, {9000, 0}, {700, 9000}, {100, 100}, {2000, 2000}, {500, 12000}} {
			c.add(newWork(p[0], p[1]), took(p[0], p[1]))
		}
		for _, p := range [][2]float64{{1000, 0}, {12000, 0}, {400, 14000}} {
			if got, want := c.at(newWork(p[0], p[1])), took(p[0], p[1]); !near(got, want, 0.25) {
				t.Errorf("bend 1/%.0f, %.0f tokens behind %.0f: got %.2f, want about %.2f", 1/bend, p[0], p[1], got, want)
			}
		}
	}
}
