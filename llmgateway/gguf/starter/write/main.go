// Command write writes the starter model and its vision projector to the files that are its arguments.
package main

import (
	"bytes"
	"io"
	"log"
	"os"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/starter"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: write MODEL.gguf PROJECTOR.gguf")
	}
	for i, write := range []func(io.Writer) error{starter.Write, starter.WriteProjector} {
		var file bytes.Buffer
		if err := write(&file); err != nil {
			log.Fatal(err)
		}
		// Unlike a key, a model may be read by everyone.
		if err := os.WriteFile(os.Args[1+i], file.Bytes(), 0o644); err != nil { //nolint:gosec // G306: see above
			log.Fatal(err)
		}
	}
}
