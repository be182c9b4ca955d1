package bytebot

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	_ "image/gif" // decoders
	"image/jpeg"
	"image/png"
	"runtime"

	"github.com/zeebo/blake3"
	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // a decoder
)

// Encoding says how images are encoded anew. The zero value leaves them as they are.
type Encoding struct {
	// JPEG is the quality of JPEG images, 1 to 100, or 0 to keep the format.
	JPEG int
	// MaxEdge is the longest edge in pixels, or 0 for no bound. Smaller images stay as they are.
	MaxEdge int
}

// imageKey stands for an image and an encoding.
type imageKey [32]byte

// recoded is an image that was encoded anew.
type recoded struct {
	url      string // of data, or empty if the image stays as it was
	from, to image.Point
}

// encoders bounds how many images are encoded at the same time, so that other requests get their share of the processors.
var encoders = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// maxPixels bounds how large images are that are decoded: more may be an attack.
const maxPixels = 64 << 20

// recode returns the image of a data: URL in another encoding. What was done once is remembered. An image that cannot be
// decoded stays as it is.
func (m *Memory) recode(ctx context.Context, url []byte, e Encoding) (recoded, error) {
	key := keyOf(url, e)
	if r, ok := m.images.GetIfPresent(key); ok {
		return r, nil
	}
	select {
	case encoders <- struct{}{}:
		defer func() { <-encoders }()
	case <-ctx.Done():
		return recoded{}, context.Cause(ctx)
	}
	if r, ok := m.images.GetIfPresent(key); ok { // another request was faster
		return r, nil
	}
	r := encode(url, e)
	m.images.Set(key, r)
	return r, nil
}

func keyOf(url []byte, e Encoding) (key imageKey) {
	h := blake3.New()
	_, _ = fmt.Fprintln(h, e.JPEG, e.MaxEdge)
	_, _ = h.Write(url)
	h.Sum(key[:0])
	return key
}

// encode does the work of recode.
func encode(url []byte, e Encoding) (r recoded) {
	data, ok := decodeURL(url)
	if !ok {
		return r
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil || config.Width <= 0 || config.Height <= 0 || config.Width > maxPixels/config.Height {
		return r
	}
	r.from = image.Pt(config.Width, config.Height)
	r.to = bounded(r.from, e.MaxEdge)
	if r.to == r.from && (e.JPEG == 0 || format == "jpeg") {
		return r
	}
	decoded, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		r.to = r.from
		return r
	}
	if r.to != r.from {
		smaller := image.NewRGBA(image.Rectangle{Max: r.to})
		draw.CatmullRom.Scale(smaller, smaller.Bounds(), decoded, decoded.Bounds(), draw.Src, nil)
		decoded = smaller
	}
	var out bytes.Buffer
	mediaType := "image/png"
	if e.JPEG > 0 {
		mediaType = "image/jpeg"
		err = jpeg.Encode(&out, decoded, &jpeg.Options{Quality: e.JPEG})
	} else {
		err = png.Encode(&out, decoded)
	}
	if err != nil || r.to == r.from && out.Len() >= len(data) { // what does not become smaller stays
		r.to = r.from
		return r
	}
	r.url = "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(out.Bytes())
	return r
}

// bounded returns a size of the same shape whose longest edge is at most so long.
func bounded(size image.Point, edge int) image.Point {
	longest := max(size.X, size.Y)
	if edge <= 0 || longest <= edge {
		return size
	}
	return image.Pt(max(1, (size.X*edge+longest/2)/longest), max(1, (size.Y*edge+longest/2)/longest))
}

// decodeURL returns what is in a data: URL as it stands in JSON.
func decodeURL(url []byte) ([]byte, bool) {
	encoded, ok := base64Of(url)
	if !ok {
		return nil, false
	}
	encoded = bytes.ReplaceAll(encoded, []byte(`\/`), []byte("/"))
	data := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(data, encoded)
	return data[:n], err == nil
}

// base64Of returns the part of a data: URL, as it stands in JSON, that is the image.
func base64Of(url []byte) ([]byte, bool) {
	const longestHead = 128
	head, _, ok := bytes.Cut(url[:min(len(url), longestHead)], []byte(","))
	if !ok || !bytes.HasPrefix(head, []byte("data:image")) || !bytes.HasSuffix(head, []byte(";base64")) {
		return nil, false
	}
	return url[len(head)+1:], true
}
