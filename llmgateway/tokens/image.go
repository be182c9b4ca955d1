package tokens

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
)

// LowDetail is what an image is that OpenAI's API is to look at in low detail.
const LowDetail = 85

// unknownSide is the length of the sides that an image is taken to have if its size cannot be told.
const unknownSide = 1024

// Image returns how many tokens an image is by OpenAI's rule for pictures in high detail: it is made to fit into a square of 2048
// pixels, then its shorter side into 768, and each tile of 512 that it then takes is 170. Other models have other rules of the
// same magnitude.
func Image(width, height int) int {
	if width <= 0 || height <= 0 {
		width, height = unknownSide, unknownSide
	}
	w, h := float64(width), float64(height)
	scale := min(1, 2048/max(w, h))
	scale *= min(1, 768/(scale*min(w, h)))
	tiles := func(side float64) int { return max(1, int(math.Ceil(side*scale/512-1e-9))) }
	return LowDetail + 170*tiles(w)*tiles(h)
}

// longestHead is how far the size of an image is looked for. A camera puts previews and more in front of it.
const longestHead = 256 << 10

// ImageSize returns the size in pixels of a PNG, JPEG, GIF or WebP image in base64, of which it decodes no more than it must. What
// it does not know has no size.
func ImageSize(encoded []byte) (width, height int) {
	r := base64.NewDecoder(base64.StdEncoding, &unescaped{encoded})
	var head [30]byte
	n, _ := io.ReadFull(r, head[:])
	whole := io.LimitReader(io.MultiReader(bytes.NewReader(head[:n]), r), longestHead)
	switch {
	case n < len(head):
		return 0, 0
	case string(head[:4]) == "\x89PNG":
		if c, err := png.DecodeConfig(whole); err == nil {
			return c.Width, c.Height
		}
	case head[0] == 0xff && head[1] == 0xd8:
		if c, err := jpeg.DecodeConfig(whole); err == nil {
			return c.Width, c.Height
		}
	case string(head[:4]) == "GIF8":
		if c, err := gif.DecodeConfig(whole); err == nil {
			return c.Width, c.Height
		}
	case string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP":
		return webpSize(head[12:])
	}
	return 0, 0
}

// webpSize reads the first chunk of a WebP file (RFC 9649).
func webpSize(chunk []byte) (width, height int) {
	switch data := chunk[8:]; string(chunk[:4]) {
	case "VP8 ":
		return int(binary.LittleEndian.Uint16(data[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(data[8:]) & 0x3fff)
	case "VP8L":
		bits := binary.LittleEndian.Uint32(data[1:])
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1
	case "VP8X":
		return int(binary.LittleEndian.Uint32(data[4:])&0xffffff) + 1, int(binary.LittleEndian.Uint32(data[6:])>>8) + 1
	}
	return 0, 0
}

// unescaped reads base64 from within a JSON string, where slashes may be escaped.
type unescaped struct{ rest []byte }

// Read implements io.Reader.
func (u *unescaped) Read(p []byte) (n int, err error) {
	for n < len(p) && len(u.rest) > 0 {
		part, skipped := u.rest[:min(len(u.rest), len(p)-n)], 0
		if i := bytes.IndexByte(part, '\\'); i >= 0 {
			part, skipped = part[:i], 1
		}
		n += copy(p[n:], part)
		u.rest = u.rest[len(part)+skipped:]
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
