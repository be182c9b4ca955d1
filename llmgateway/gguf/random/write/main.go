// Command write writes a model with random weights:
//
//	go run ./llmgateway/gguf/random/write [-type Q8_0] SHAPE FILE
//
// SHAPE is an architecture, for a small model of it, or 0.5b for the shape of Qwen2.5-0.5B.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/random"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "write:", err)
		os.Exit(1)
	}
}

func run() error {
	typeName := flag.String("type", "", "type of the weights: F16, Q8_0, Q4_0, Q4_K (default: the shape's own; of 0.5b, Q8_0)")
	flag.Parse()
	if flag.NArg() != 2 {
		return errors.New("usage: write [-type Q8_0] SHAPE FILE")
	}
	shape, err := find(flag.Arg(0))
	if err != nil {
		return err
	}
	for _, t := range []gguf.TensorType{gguf.F16, gguf.Q8_0, gguf.Q4_0, gguf.Q4_K} {
		if *typeName == t.String() {
			shape.Type, *typeName = t, ""
		}
	}
	if *typeName != "" {
		return fmt.Errorf("the type %q is none of F16, Q8_0, Q4_0, Q4_K", *typeName)
	}
	out, err := os.Create(flag.Arg(1))
	if err != nil {
		return fmt.Errorf("creating the model: %w", err)
	}
	buf := bufio.NewWriterSize(out, 1<<20)
	return errors.Join(shape.Write(buf), buf.Flush(), out.Close())
}

func find(name string) (random.Shape, error) {
	if name == "0.5b" {
		return random.HalfBillion(gguf.Q8_0), nil
	}
	known := []string{"0.5b"}
	for _, s := range random.Small() {
		if s.Architecture == name {
			return s, nil
		}
		known = append(known, s.Architecture)
	}
	return random.Shape{}, fmt.Errorf("the shape %q is none of %s", name, strings.Join(known, ", "))
}
