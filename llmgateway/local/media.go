package local

import (
	"bytes"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// fetches reports whether a request names media that llama-server would fetch from the network, for whoever asks and
// from wherever the gateway stands. Media in the request itself are fine.
func fetches(req *llmgateway.Request) bool {
	for _, m := range req.Members {
		if m.Name == "messages" && namesRemote(req.Raw(m)) {
			return true
		}
	}
	return false
}

// namesRemote looks at every string that is the value of a member that llama-server takes media from. The JSON is known
// to be valid. Strings are skipped at memory speed, so megabytes of screenshots do not matter.
func namesRemote(d []byte) bool {
	var name []byte
	for {
		start := bytes.IndexByte(d, '"')
		if start < 0 {
			return false
		}
		d = d[start+1:]
		end := endOfString(d)
		if end < 0 {
			return false
		}
		text := d[:end]
		d = d[end+1:]
		if rest := bytes.TrimLeft(d, " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
			name = text
		} else if isMedia(name) && isRemote(text) {
			return true
		}
	}
}

// endOfString returns the offset of the quote that ends the string at the beginning of d.
func endOfString(d []byte) int {
	for from := 0; ; {
		n := bytes.IndexByte(d[from:], '"')
		if n < 0 {
			return -1
		}
		quote := from + n
		escapes := 0
		for k := quote - 1; k >= 0 && d[k] == '\\'; k-- {
			escapes++
		}
		if escapes%2 == 0 {
			return quote
		}
		from = quote + 1
	}
}

// isMedia and isRemote take every escape for a disguise, but for that of a slash, which some encoders write.

func isMedia(name []byte) bool {
	return string(name) == "url" || string(name) == "data" || bytes.IndexByte(name, '\\') >= 0
}

func isRemote(text []byte) bool {
	const longest = len(`\u0068\u0074\u0074\u0070`)
	beginning := bytes.ReplaceAll(text[:min(len(text), longest)], []byte(`\/`), []byte("/"))
	return bytes.HasPrefix(beginning, []byte("http")) || bytes.IndexByte(beginning, '\\') >= 0 && !bytes.HasPrefix(beginning, []byte("data:"))
}
