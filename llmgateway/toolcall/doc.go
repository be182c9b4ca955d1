// Package toolcall makes the tool calls in a model's answer what the client that offered the tools expects.
//
// Models that were not trained on OpenAI's tools write calls into their text, each family in a form of its own, misname the
// tool, or give a number as a string. [Tools] knows what was offered. [Tools.Find] and [Scanner] find calls in text,
// [Tools.Mend] fits one to its tool's schema, and [Repairer] does both to whole answers and to streams in OpenAI's wire
// format. An answer that is right already passes byte for byte.
//
// Nothing is guessed: a call is mended only where there is one way to do so, and a call that the model did not make is never
// added. What cannot be mended is told as a [Problem], in words that a model understands, so that it can be asked again.
package toolcall
