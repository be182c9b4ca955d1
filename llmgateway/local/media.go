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

// namesRemote looks at the strings that llama-server takes media from: the members url and data of an object that is the
// value of a media member. The JSON is known to be valid. Strings are skipped at memory speed, so megabytes of screenshots do
// not matter.
func namesRemote(d []byte) bool {
	w := mediaWalk{}
	for {
		start := bytes.IndexByte(d, '"')
		if start < 0 {
			return false
		}
		w.between(d[:start])
		d = d[start+1:]
		end := endOfString(d)
		if end < 0 {
			return false
		}
		text := d[:end]
		d = d[end+1:]
		if rest := bytes.TrimLeft(d, " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
			w.name = text
			continue
		}
		if (isMedia(w.name) || w.inside > 0 && isSource(w.name)) && isRemote(text) {
			return true
		}
		w.name = nil
	}
}

// mediaWalk is where a walk over JSON stands.
type mediaWalk struct {
	name   []byte // of the member whose value comes next
	depth  int    // of objects and lists
	inside int    // depth of the media member's value that the walk is in, or 0
}

// between takes in what stands between two strings.
func (w *mediaWalk) between(gap []byte) {
	for _, c := range gap {
		switch c {
		case '{', '[':
			w.depth++
			if w.inside == 0 && isMedia(w.name) {
				w.inside = w.depth
			}
			if c == '{' {
				w.name = nil
			}
		case '}', ']':
			if w.depth == w.inside {
				w.inside = 0
			}
			w.depth--
			w.name = nil
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

// isMedia, isSource and isRemote take every escape for a disguise, but for that of a slash, which some encoders write.

func isMedia(name []byte) bool {
	switch string(name) {
	case "image_url", "input_audio", "input_video", "video_url":
		return true
	}
	return bytes.IndexByte(name, '\\') >= 0
}

func isSource(name []byte) bool {
	return string(name) == "url" || string(name) == "data" || bytes.IndexByte(name, '\\') >= 0
}

func isRemote(text []byte) bool {
	const longest = len(`\u0068\u0074\u0074\u0070`)
	beginning := bytes.ToLower(bytes.ReplaceAll(text[:min(len(text), longest)], []byte(`\/`), []byte("/")))
	return bytes.HasPrefix(beginning, []byte("http")) || bytes.HasPrefix(beginning, []byte("file:")) ||
		bytes.IndexByte(beginning, '\\') >= 0 && !bytes.HasPrefix(beginning, []byte("data:"))
}
