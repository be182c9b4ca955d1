// Command write writes the starter model to the file that is its argument.
package main

import (
	"bytes"
	"log"
	"os"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/starter"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: write FILE.gguf")
	}
	var model bytes.Buffer
	if err := starter.Write(&model); err != nil {
		log.Fatal(err)
	}
	// Unlike a key, a model may be read by everyone.
	if err := os.WriteFile(os.Args[1], model.Bytes(), 0o644); err != nil { //nolint:gosec // G306: see above
		log.Fatal(err)
	}
}
