package tokens

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
)

func TestImageIsCountedByTiles(t *testing.T) {
	for _, test := range []struct{ width, height, want int }{
		{512, 512, 255},
		{513, 512, 425},
		{1, 1, 255},
		{1024, 1024, 765},
		{2048, 4096, 1105},
		{4096, 2048, 1105},
		{1920, 1080, 1105},
		{1280, 800, 1105},
		{100000, 1, 85 + 4*170},
		{0, 0, 765},
		{-5, 7, 765},
	} {
		if got := Image(test.width, test.height); got != test.want {
			t.Errorf("%d x %d: got %d, want %d", test.width, test.height, got, test.want)
		}
	}
}

func TestImageSizeIsReadFromTheBeginning(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 1234, 567))
	var asPNG, asJPEG, asGIF bytes.Buffer
	if png.Encode(&asPNG, m) != nil || jpeg.Encode(&asJPEG, m, nil) != nil || gif.Encode(&asGIF, m, nil) != nil {
		t.Fatal("encoding failed")
	}
	webp := func(chunk string) string { return "RIFF\x00\x01\x00\x00WEBP" + chunk + strings.Repeat("\x00", 30) }
	// A camera's JPEG has a preview and more in front of its size.
	exif := "\xff\xe1\xff\xfe" + strings.Repeat("/", 0xfffe-2)
	photo := asJPEG.String()[:2] + exif + exif + asJPEG.String()[2:]
	for name, file := range map[string]string{
		"PNG": asPNG.String(), "JPEG": asJPEG.String(), "GIF": asGIF.String(), "photo": photo,
		"WebP":          webp("VP8 \x30\x00\x00\x00\x00\x00\x00\x9d\x01\x2a\xd2\x04\x37\x02"),
		"lossless WebP": webp("VP8L\x30\x00\x00\x00\x2f\xd1\x84\x8d\x00"),
		"extended WebP": webp("VP8X\x0a\x00\x00\x00\x00\x00\x00\x00\xd1\x04\x00\x36\x02\x00"),
	} {
		encoded := base64.StdEncoding.EncodeToString([]byte(file))
		for how, encoded := range map[string]string{
			"plain": encoded, "escaped": strings.ReplaceAll(encoded, "/", `\/`), "cut": encoded[:max(0, len(encoded)-400)],
		} {
			if how == "cut" && len(file) < 2000 {
				continue
			}
			if w, h := ImageSize([]byte(encoded)); w != 1234 || h != 567 {
				t.Errorf("%s, %s: got %d x %d", name, how, w, h)
			}
		}
	}
	for _, unknown := range []string{"", "AA==", "%%%", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("BM"), 100)), base64.StdEncoding.EncodeToString([]byte("\x89PNG" + strings.Repeat("x", 100)))} {
		if w, h := ImageSize([]byte(unknown)); w != 0 || h != 0 {
			t.Errorf("%.20q: got %d x %d", unknown, w, h)
		}
	}
}
