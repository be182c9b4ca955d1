package toolcall

import "testing"

func TestMapPointsChangesPointsAndNothingElse(t *testing.T) {
	double := func(x, y float64) (float64, float64) { return 2 * x, 2*y + 0.4 }
	for _, tt := range []struct{ name, arguments, want string }{
		{"a point", `{"coordinates":{"x":1.5,"y":2},"button":"left"}`, `{"coordinates":{"x":3,"y":4},"button":"left"}`},
		{"a path", `{"path":[{"x":1,"y":2},{"y":3,"x":4}]}`, `{"path":[{"x":2,"y":4},{"y":6,"x":8}]}`},
		{"no points", `{ "text":"x" , "x":1}`, `{ "text":"x" , "x":1}`},
		{"strings", `{"coordinates": {"x":"1","y":"2"}}`, `{"coordinates": {"x":"1","y":"2"}}`},
		{"not JSON", `{"x":`, `{"x":`},
	} {
		if got := MapPoints(tt.arguments, double); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
