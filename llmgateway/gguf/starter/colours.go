package starter

// colours are the corners of the cube of all colours: each channel, red, green and blue, is either dark or light. The
// model says a name with its full stop, which keeps it from being part of other words.
var colours = []struct {
	name    string
	r, g, b float32 // -1 or 1
}{
	{"black.", -1, -1, -1},
	{"red.", 1, -1, -1},
	{"green.", -1, 1, -1},
	{"blue.", -1, -1, 1},
	{"yellow.", 1, 1, -1},
	{"magenta.", 1, -1, 1},
	{"cyan.", -1, 1, 1},
	{"white.", 1, 1, 1},
}
