package replay

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"sync"
)

// Desktop is a pretended desktop of 1280 x 960 pixels. Each action changes what is on its screen.
type Desktop struct {
	// Frozen keeps the screen as it is, whatever is done.
	Frozen bool

	mu      sync.Mutex // guards what follows
	actions []Action
	shots   map[int]string
}

// Action is something that was done on a desktop.
type Action struct {
	Name      string
	Arguments map[string]any
}

// Do carries out an action.
func (d *Desktop) Do(name string, arguments map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.actions = append(d.actions, Action{name, arguments})
}

// Actions returns what was done so far.
func (d *Desktop) Actions() []Action {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Action(nil), d.actions...)
}

// Screenshot returns a PNG of the screen in base64.
func (d *Desktop) Screenshot() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	state := len(d.actions)
	if d.Frozen {
		state = 0
	}
	if shot, ok := d.shots[state]; ok {
		return shot
	}
	screen := image.NewPaletted(image.Rect(0, 0, 1280, 960), color.Palette{
		color.RGBA{R: 200, G: 30, B: 30, A: 255}, color.RGBA{R: uint8(state * 19), G: uint8(state * 7), B: 255, A: 255},
	})
	for y := range 40 { // a window that moves
		for x := range 60 {
			screen.SetColorIndex(20*(state%60)+x, 100+y, 1)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, screen); err != nil { // a buffer takes everything
		panic(err)
	}
	if d.shots == nil {
		d.shots = make(map[int]string)
	}
	d.shots[state] = base64.StdEncoding.EncodeToString(b.Bytes())
	return d.shots[state]
}
