package dialect

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// TextOf returns what a data: URL with a text in base64 says. It is not ok for anything else.
func TextOf(url openai.Value) (text string, ok bool) {
	rest, ok := bytes.CutPrefix(url.Inner(), []byte("data:"))
	if !ok {
		return "", false
	}
	head, data, ok := bytes.Cut(rest, []byte(";base64,"))
	if !ok || !IsText(string(head)) {
		return "", false
	}
	return DecodeText(data)
}

// DecodeText returns the text that base64 holds. It is not ok if it is none.
func DecodeText(data []byte) (text string, ok bool) {
	// Encoders that wrap lines, or write a slash as "\/", are mended by what JSON makes of them.
	if bytes.IndexByte(data, '\\') >= 0 {
		data = []byte(openai.Value(`"` + string(data) + `"`).Text())
	}
	decoded, err := base64.StdEncoding.AppendDecode(nil, data)
	return string(decoded), err == nil
}

// IsText reports whether a model can read what has the media type as it is.
func IsText(media string) bool {
	media, _, _ = strings.Cut(media, ";")
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "/json") || strings.HasSuffix(media, "/xml") ||
		strings.HasSuffix(media, "+json") || strings.HasSuffix(media, "+xml") || media == "application/x-yaml"
}
