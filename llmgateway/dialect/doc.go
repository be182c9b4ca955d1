// Package dialect holds what the translations between chat completions and other APIs have in common: a [Chat] is a
// request in the making, and a [Reader] takes an answer apart into what was thought, said and called.
package dialect
