package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/random"
)

// writeModel writes a model of half a billion random weights, which is as fast as a trained one.
func writeModel(path string) error {
	out, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing a model: %w", err)
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	return errors.Join(random.HalfBillion(gguf.Q8_0).Write(buffered), buffered.Flush(), out.Close())
}
