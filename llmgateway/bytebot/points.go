package bytebot

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/toolcall"
)

// Size is the width and the height of something, in pixels or in a model's own units.
type Size struct{ Width, Height float64 }

// screen is the size of the agent's desktop, where no screenshot says another one.
var screen = Size{1280, 960}

// space returns the coordinates that a target answers in, if they are not pixels: its own, or those of all its provider's
// models.
func (c *Config) space(to llmgateway.Destination) (Size, bool) {
	s, ok := c.Coordinates[to.Provider+"/"+to.Model]
	if !ok {
		s, ok = c.Coordinates[to.Provider]
	}
	return s, ok && s.Width > 0 && s.Height > 0
}

// toPixels returns what converts the coordinates in a target's calls to pixels of the agent's screen, or nil if nothing is to
// be converted.
func (x *exchange) toPixels(to llmgateway.Destination) func(toolcall.Call) toolcall.Call {
	space, ok := x.adapter.config.space(to)
	if !ok {
		return nil
	}
	return func(c toolcall.Call) toolcall.Call {
		c.Arguments = toolcall.MapPoints(c.Arguments, func(px, py float64) (float64, float64) {
			return pixel(px, space.Width, x.screen.Width), pixel(py, space.Height, x.screen.Height)
		})
		return c
	}
}

// pixel converts one coordinate. The far edge is the last pixel.
func pixel(at, of, pixels float64) float64 {
	return min(max(math.Round(at/of*pixels), 0), pixels-1)
}

// screenSize returns the size of the newest screenshot, or what the desktop usually has.
func (c *conversation) screenSize() Size {
	if len(c.images) == 0 {
		return screen
	}
	url := string(c.images[len(c.images)-1].url.first(len("data:image/png;base64,") + 32).in(c.body))
	_, encoded, ok := strings.Cut(url, ";base64,")
	header, err := base64.StdEncoding.DecodeString(encoded[:len(encoded)/4*4])
	// A PNG begins with its signature and a chunk that begins with the size: https://www.w3.org/TR/png-3/#11IHDR
	if !ok || err != nil || len(header) < 24 || string(header[:8]) != "\x89PNG\r\n\x1a\n" {
		return screen
	}
	s := Size{float64(binary.BigEndian.Uint32(header[16:])), float64(binary.BigEndian.Uint32(header[20:]))}
	if s.Width < 1 || s.Height < 1 {
		return screen
	}
	return s
}

// first returns the first n bytes of a span, or all of it.
func (s span) first(n int) span { return span{s.start, min(s.end, s.start+n)} }
