package route

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// mirrored returns a table whose model m has a target and a mirror that copies every request. What the copies came to is sent to
// reports.
func mirrored(real, tested llmgateway.Provider) (table *Table, m *Mirror, reports func() []Copy) {
	var mu sync.Mutex
	var copies []Copy
	m = &Mirror{
		Target: &Target{Name: "tested", Provider: tested, Model: "new", Timeout: time.Minute}, Share: 1, Most: 2,
		Report: func(c Copy) {
			mu.Lock()
			defer mu.Unlock()
			copies = append(copies, c)
		},
	}
	table = &Table{
		Models:    map[string]*Router{"m": {Targets: []*Target{named("real", real)}, Mirror: m}},
		Providers: []string{"real"},
	}
	return table, m, func() []Copy {
		mu.Lock()
		defer mu.Unlock()
		return copies
	}
}

func TestCopyGoesToTheModelUnderTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tested := does("~role", time.Second, "one", time.Second, "two")
		table, m, reports := mirrored(does("real"), tested)
		defer m.Close()
		got := ask(t.Context(), table, chat("m"))
		got.check(t, "real", "", "")
		if got.took != 0 {
			t.Errorf("the answer took %v", got.took)
		}
		time.Sleep(3 * time.Second)
		copies := reports()
		if len(copies) != 1 || tested.asked() != 1 {
			t.Fatalf("got %d reports of %d requests", len(copies), tested.asked())
		}
		if c := copies[0]; c.Provider != "tested" || c.Model != "new" || c.FirstToken != time.Second || c.Duration != 2*time.Second || c.Err != nil || c.Dropped {
			t.Errorf("got %+v", c)
		}
		if req := tested.requests[0]; req.Model != "new" || !req.Stream {
			t.Errorf("it was asked for %+v", req)
		}
	})
}

// TestModelUnderTestTouchesNothing has one that does what it should not.
func TestModelUnderTestTouchesNothing(t *testing.T) {
	for name, step := range map[string]any{"an error": errBoom, "silence": time.Hour, "nothing": "~role", "an answer that breaks": errors.New("broken")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, m, reports := mirrored(does("real", time.Second, "answer"), does(step))
				defer m.Close()
				got := ask(t.Context(), table, chat("m"))
				got.check(t, "real answer", "", "")
				if got.took != time.Second {
					t.Errorf("the answer took %v", got.took)
				}
				time.Sleep(2 * time.Minute) // its deadline
				if copies := reports(); len(copies) != 1 || copies[0].Err == nil || copies[0].Duration > time.Minute {
					t.Errorf("got %+v", copies)
				}
			})
		})
	}
}

func TestOnlyRequestsThatAreAnsweredAndLeftToUsAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tested := does("tested")
		table, m, _ := mirrored(does(errBoom).then("real"), tested)
		defer m.Close()
		ask(t.Context(), table, chat("m")).check(t, "", "real upstream", llmgateway.Upstream)
		ask(t.Context(), table, chat("real/m")).check(t, "real", "", "")
		byMember := chat("m")
		byMember.Provider = "real"
		ask(t.Context(), table, byMember).check(t, "real", "", "")
		synctest.Wait()
		if tested.asked() != 0 {
			t.Errorf("%d requests were copied", tested.asked())
		}
		m.Share, m.chance = 0.25, func() float64 { return 0.25 }
		ask(t.Context(), table, chat("m"))
		synctest.Wait()
		if tested.asked() != 0 {
			t.Error("a request beyond the share was copied")
		}
		m.chance = func() float64 { return 0.24 }
		ask(t.Context(), table, chat("m"))
		synctest.Wait()
		if tested.asked() != 1 {
			t.Error("a request of the share was not copied")
		}
	})
}

func TestCopyThatTheModelCannotServeIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tested := textOnly(100)
		table, m, reports := mirrored(does("real"), tested)
		defer m.Close()
		ask(t.Context(), table, needing(t, llmgateway.Chat, withImage)).check(t, "real", "", "")
		synctest.Wait()
		if copies := reports(); tested.asked() != 0 || len(copies) != 1 || llmgateway.AsError(copies[0].Err).Kind != llmgateway.Unsupported {
			t.Errorf("it was asked %d times: %+v", tested.asked(), copies)
		}
	})
}

func TestCopiesBeyondTheMostAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tested := does(10*time.Second, "tested")
		table, m, reports := mirrored(does("real"), tested)
		defer m.Close()
		for range 5 {
			if got := ask(t.Context(), table, chat("m")); got.text != "real" || got.took != 0 {
				t.Errorf("got %q after %v", got.text, got.took)
			}
		}
		synctest.Wait()
		if dropped := len(reports()); tested.asked() != 2 || dropped != 3 {
			t.Errorf("%d copies were sent and %d dropped", tested.asked(), dropped)
		}
		time.Sleep(11 * time.Second)
		ask(t.Context(), table, chat("m"))
		time.Sleep(11 * time.Second)
		if tested.asked() != 3 || len(reports()) != 6 {
			t.Errorf("%d copies were sent, with %d reports", tested.asked(), len(reports()))
		}
	})
}

func TestCloseEndsCopiesAndWaitsForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tested := does(canceled{errBoom})
		table, m, reports := mirrored(does("real"), tested)
		ask(t.Context(), table, chat("m"))
		synctest.Wait()
		m.Close()
		copies := reports()
		if len(copies) != 1 || !errors.Is(copies[0].Err, errMirrorClosed) || tested.stopped != 1 {
			t.Errorf("got %+v", copies)
		}
		// A request of the old configuration that ends after it.
		ask(t.Context(), table, chat("m")).check(t, "real", "", "")
		synctest.Wait()
		if tested.asked() != 1 || len(reports()) != 1 {
			t.Error("a request was copied after the end")
		}
		m.Close()
	})
}

func TestCopyKeepsTheBodyUntilItIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const text = `{"model":"m","messages":[]}`
		seen := make(chan string, 1)
		tested := does(time.Second, func(req *llmgateway.Request) { seen <- string(req.Body.Bytes) }, "tested")
		table, m, _ := mirrored(does("real"), tested)
		body, err := llmgateway.ReadBody(strings.NewReader(text), int64(len(text)), 1000)
		if err != nil {
			t.Fatal(err)
		}
		req := chat("m")
		req.Body = body
		ask(t.Context(), table, req)
		body.Release()
		for range 10 { // others take what has gone back to the pool
			other, err := llmgateway.ReadBody(strings.NewReader(strings.Repeat("x", len(text))), -1, 1000)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Release()
		}
		time.Sleep(2 * time.Second)
		if got := <-seen; got != text {
			t.Errorf("the copy is %q", got)
		}
		m.Close()
		if body.Bytes != nil {
			t.Error("the body is kept after the copy")
		}
	})
}
