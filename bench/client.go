package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"syscall"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/bytebot"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

const (
	// clientTarget is the CPU time that the Bytebot client may take for a megabyte of a request.
	clientTarget = 2 * time.Millisecond
	clientRounds = 200
)

// printClient measures what the Bytebot client adds to a request of the agent: all it does before and at an attempt at a target
// whose context is known, without encoding images anew.
func printClient(w io.Writer) error {
	memory, err := bytebot.NewMemory()
	if err != nil {
		return err
	}
	defer memory.Close()
	adapter := bytebot.New(bytebot.Config{Memory: memory})
	fmt.Fprintln(w)
	for _, screenshots := range []int{2, 15} {
		text := agentRequest(screenshots, 500<<10)
		began := cpuTime()
		for range clientRounds {
			if err := adapt(adapter, text); err != nil {
				return err
			}
		}
		megabytes := float64(len(text)) / (1 << 20)
		perMB := time.Duration(float64(cpuTime()-began) / clientRounds / megabytes)
		fmt.Fprintf(w, "client bytebot, %2d screenshots, %.1f MB: %s ms CPU per MB, target %s: %s\n",
			screenshots, megabytes, ms(perMB), ms(clientTarget), verdict(perMB < clientTarget))
	}
	return nil
}

// adapt does with a request all that is done until it is sent.
func adapt(adapter *bytebot.Adapter, text []byte) error {
	req, err := openai.Read(llmgateway.Chat, llmgateway.NewBody(text))
	if err != nil {
		return err
	}
	adapted, err := adapter.Adapt(context.Background(), req)
	if err != nil {
		return err
	}
	if adapted.Body != req.Body {
		defer adapted.Body.Release()
	}
	to := llmgateway.Destination{Provider: "p", Model: "m", Limits: llmgateway.Limits{Context: 128000}}
	answer := func(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return func(yield func(llmgateway.Event, error) bool) {
			yield(llmgateway.Event{Data: []byte(`{"choices":[]}`), Carries: true, Whole: true}, nil)
		}
	}
	for _, err := range adapted.Exchange.Attempt(context.Background(), to, adapted, answer) {
		if err != nil {
			return err
		}
	}
	return nil
}

// cpuTime returns how much CPU time the process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // it takes no argument that could be wrong
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
