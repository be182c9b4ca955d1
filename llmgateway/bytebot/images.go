package bytebot

import "bytes"

// Texts in the place of images.
const (
	oldImageText    = "[an earlier screenshot, left out]"
	sameImageText   = "[the screen is still as in the screenshot before]"
	unseenImageText = "[a screenshot; this model cannot see images]"
)

// run is a number of images in a row that are the same, as indexes from first to before last.
type run struct{ first, last int }

// runs returns the images that differ from the one before.
func (c *conversation) runs() (runs []run) {
	for i, image := range c.images {
		if i > 0 && bytes.Equal(image.url.in(c.body), c.images[i-1].url.in(c.body)) {
			runs[len(runs)-1].last = i + 1
			continue
		}
		runs = append(runs, run{i, i + 1})
	}
	return runs
}

// eachAlone returns the images, one by one.
func (c *conversation) eachAlone() (runs []run) {
	for i := range c.images {
		runs = append(runs, run{i, i + 1})
	}
	return runs
}

// outdated returns how many of n images are left out so that at most most stay. Once there are too many, it is more than need be,
// down to keep, so that it stays the same for a while: every change of what was sent before makes a model read the rest anew.
func outdated(n, keep, most int) int {
	if most <= 0 || n <= most {
		return 0
	}
	keep = min(max(keep, 0), most)
	step := most - keep + 1
	return min((n-most+step-1)/step*step, n)
}

// thin returns the edits that leave out the first images, and those that are the same as the one before.
func (c *conversation) thin(runs []run, out int) (e edits) {
	for i, r := range runs {
		for n := r.first; n < r.last; n++ {
			switch {
			case n > r.first: // which it stays when the first one is left out, too
				e.replace(c.images[n].part, textPart(sameImageText))
			case i < out:
				e.replace(c.images[n].part, textPart(oldImageText))
			}
		}
	}
	return e
}

// unseen returns the edits that put the same text in the place of every image, and of those that were left out already: or else the
// beginning of what a model reads would change with each image that is left out.
func (c *conversation) unseen() (e edits) {
	old := []byte(textPart(oldImageText))
	for _, m := range c.messages {
		if m.role != user || !c.hasParts(m) {
			continue
		}
		for at := m.content.start; ; {
			i := bytes.Index(c.body[at:m.content.end], old)
			if i < 0 {
				break
			}
			e.replace(span{at + i, at + i + len(old)}, textPart(unseenImageText))
			at += i + len(old)
		}
	}
	for _, image := range c.images {
		e.replace(image.part, textPart(unseenImageText))
	}
	return e
}

func textPart(text string) string { return `{"type":"text","text":` + quote(text) + `}` }
