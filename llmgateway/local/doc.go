// Package local answers requests with GGUF models on this machine.
//
// An [Engine] supervises one llama-server process, llama.cpp's own HTTP server, for one model file and one set of
// parameters. It starts the process when it is first needed, waits until the model is loaded, starts it again after a
// crash, and ends it when no configuration and no generation holds it any more. A [Provider] sends requests to an Engine,
// in the order in which they came and no more at once than it has slots.
//
// design.md, beside this file, has the states and the reasons.
package local
