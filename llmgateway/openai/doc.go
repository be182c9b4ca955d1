// Package openai speaks OpenAI's HTTP API: it reads requests with one scan, splices what must change into them, reads
// answers and streams of server-sent events, and calls any compatible endpoint.
//
// Nothing is decoded and encoded again. What the gateway does not need to know passes byte for byte.
//
// The API is described at https://platform.openai.com/docs/api-reference, the event stream at
// https://html.spec.whatwg.org/multipage/server-sent-events.html.
package openai
