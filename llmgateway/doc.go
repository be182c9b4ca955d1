// Package llmgateway is the core of a gateway to language models: what a request is, what an answer is, and the one
// interface that everything in between implements.
//
// It knows the OpenAI API's shapes but not HTTP, and it imports the standard library only, so that any Go program can
// embed it. The packages beside it build on it: openai speaks the wire format, route chooses among targets, local runs
// llama.cpp servers, and caddymodule (outside) makes all of it a Caddy handler.
package llmgateway
