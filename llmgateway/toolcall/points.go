package toolcall

import (
	"math"
	"strconv"
)

// MapPoints returns a call's arguments with other coordinates: each object in it with numbers x and y is a point. Arguments
// without points stay as they are, byte for byte.
func MapPoints(arguments string, to func(x, y float64) (float64, float64)) string {
	v, err := parseAll(arguments)
	if err != nil {
		return arguments
	}
	mapped, changed := mapPoints(v, to)
	if !changed {
		return arguments
	}
	return mapped.String()
}

func mapPoints(v value, to func(x, y float64) (float64, float64)) (value, bool) {
	if v.kind == object {
		x, okX := coordinate(v, "x")
		y, okY := coordinate(v, "y")
		if okX && okY {
			x, y = to(x, y)
			return v.with("x", coordinateOf(x)).with("y", coordinateOf(y)), true
		}
	}
	changed := false
	elements := make([]value, len(v.elements))
	for i, e := range v.elements {
		var c bool
		elements[i], c = mapPoints(e, to)
		changed = changed || c
	}
	v.elements = elements
	return v, changed
}

func coordinate(point value, name string) (float64, bool) {
	member, _ := point.member(name)
	n, err := strconv.ParseFloat(member.text, 64)
	return n, member.kind == number && err == nil
}

// coordinateOf writes a coordinate, which is a whole pixel.
func coordinateOf(c float64) value {
	return value{kind: number, text: strconv.FormatFloat(math.Round(c), 'f', 0, 64)}
}
