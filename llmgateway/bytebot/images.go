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
			case i < out:
				e.replace(c.images[n].part, textPart(oldImageText))
			case n > r.first:
				e.replace(c.images[n].part, textPart(sameImageText))
			}
		}
	}
	return e
}

// unseen returns the edits that put a text in the place of every image.
func (c *conversation) unseen() (e edits) {
	for _, image := range c.images {
		e.replace(image.part, textPart(unseenImageText))
	}
	return e
}

func textPart(text string) string { return `{"type":"text","text":` + quote(text) + `}` }
