package toolcall

import (
	"os"
	"strings"
	"testing"
)

// desktop returns tools like those of an agent that drives a desktop.
func desktop(t testing.TB) *Tools {
	t.Helper()
	raw, err := os.ReadFile("../bytebot/replay/tools.json")
	if err != nil {
		t.Fatal(err)
	}
	tools, err := Read(raw, map[string]string{"click_mouse_tool.button": `"left"`, "computer_click_mouse.button": `"left"`})
	if err != nil {
		t.Fatal(err)
	}
	return tools
}

func TestMendFitsCallsToTheirTools(t *testing.T) {
	tools := desktop(t)
	tests := []struct {
		name, call, arguments string
		want, wantArguments   string
	}{
		{
			"a right call stays as it is", "computer_click_mouse", `{ "coordinates": {"x": 640, "y":480.50},"button":"left" , "clickCount": 1}`,
			"computer_click_mouse", `{ "coordinates": {"x": 640, "y":480.50},"button":"left" , "clickCount": 1}`,
		},
		{"nullable is honoured", "computer_click_mouse", `{"coordinates":null,"button":"left","clickCount":1}`, "computer_click_mouse", `{"coordinates":null,"button":"left","clickCount":1}`},
		{"null for what is optional is left out", "create_task", `{"description":"x","type":null}`, "create_task", `{"description":"x"}`},
		{"words left out", "click", `{"coordinates":{"x":1,"y":2},"button":"left","clickCount":1}`, "computer_click_mouse", `{"coordinates":{"x":1,"y":2},"button":"left","clickCount":1}`},
		{"words turned round", "mouse_move", `{"coordinates":{"x":1,"y":2}}`, "computer_move_mouse", `{"coordinates":{"x":1,"y":2}}`},
		{"a prefix", "functions.computer_screenshot", `{}`, "computer_screenshot", `{}`},
		{"another case", "computerScreenshot", ``, "computer_screenshot", `{}`},
		{"arguments decide between two", "type", `{"text":"hello"}`, "computer_type_text", `{"text":"hello"}`},
		{"arguments decide the other way", "type", `{"keys":["ctrl","c"]}`, "computer_type_keys", `{"keys":["ctrl","c"]}`},
		{"a word that is a value", "right_click", `{"coordinates":[3,4]}`, "computer_click_mouse", `{"coordinates":{"x":3,"y":4},"button":"right","clickCount":1}`},
		{"a word that is a number", "double_click", `{"coordinates":[3,4]}`, "computer_click_mouse", `{"coordinates":{"x":3,"y":4},"clickCount":2,"button":"left"}`},
		{"one tool for everything", "computer_use", `{"action":"left_click","coordinate":[640,480]}`, "computer_click_mouse", `{"coordinates":{"x":640,"y":480},"button":"left","clickCount":1}`},
		{"one tool for everything, typing", "computer", `{"action":"type","text":"hi"}`, "computer_type_text", `{"text":"hi"}`},
		{"strings for numbers", "computer_click_mouse", `{"coordinates":{"x":"640","y":" 480.5 "},"button":"left","clickCount":"2"}`, "computer_click_mouse", `{"coordinates":{"x":640,"y":480.5},"button":"left","clickCount":2}`},
		{"a list for a point", "computer_move_mouse", `{"coordinates":[640,"480"]}`, "computer_move_mouse", `{"coordinates":{"x":640,"y":480}}`},
		{"a string for a point", "computer_move_mouse", `{"coordinates":"(640, 480)"}`, "computer_move_mouse", `{"coordinates":{"x":640,"y":480}}`},
		{"a nested list for a point", "computer_move_mouse", `{"coordinates":[[640,480]]}`, "computer_move_mouse", `{"coordinates":{"x":640,"y":480}}`},
		{"a point without its object", "computer_move_mouse", `{"x":640,"y":480}`, "computer_move_mouse", `{"coordinates":{"x":640,"y":480}}`},
		{"a path of lists", "computer_drag_mouse", `{"path":[[1,2],[3,4]],"button":"LEFT"}`, "computer_drag_mouse", `{"path":[{"x":1,"y":2},{"x":3,"y":4}],"button":"left"}`},
		{"an object in a string", "computer_move_mouse", `{"coordinates":"{\"x\": 1, \"y\": 2}"}`, "computer_move_mouse", `{"coordinates":{"x":1,"y":2}}`},
		{"arguments in a string", "computer_move_mouse", `"{\"coordinates\":{\"x\":1,\"y\":2}}"`, "computer_move_mouse", `{"coordinates":{"x":1,"y":2}}`},
		{"an enumeration's case", "computer_scroll", `{"coordinates":[1,2],"direction":"Down","scrollCount":3.0}`, "computer_scroll", `{"coordinates":{"x":1,"y":2},"direction":"down","scrollCount":3}`},
		{"the only value", "computer_wait", `{"duration":2000}`, "computer_wait", `{"duration":500}`},
		{"the only value, missing", "computer_wait", `{"seconds":2}`, "computer_wait", `{"seconds":2,"duration":500}`},
		{"one for a list", "computer_type_keys", `{"keys":"Return"}`, "computer_type_keys", `{"keys":["Return"]}`},
		{"a string for true", "computer_type_text", `{"text":"x","isSensitive":"True"}`, "computer_type_text", `{"text":"x","isSensitive":true}`},
		{"a number for a string", "computer_type_text", `{"text":42}`, "computer_type_text", `{"text":"42"}`},
		{"names of properties", "computer_click_mouse", `{"Coordinate":{"x":1,"y":2},"button":"left","click_count":1}`, "computer_click_mouse", `{"coordinates":{"x":1,"y":2},"button":"left","clickCount":1}`},
		{"Python's words", "computer_type_text", `{'text': 'it\'s', 'isSensitive': None,}`, "computer_type_text", `{"text":"it's","isSensitive":null}`},
		{"digits are kept", "computer_move_mouse", `{"coordinates":[1e2,12345678901234567890.10]}`, "computer_move_mouse", `{"coordinates":{"x":1e2,"y":12345678901234567890.10}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, problem := tools.Mend(Call{ID: "c", Name: tt.call, Arguments: tt.arguments})
			if problem != nil {
				t.Fatal(problem.Text)
			}
			if want := (Call{"c", tt.want, tt.wantArguments}); got != want {
				t.Fatalf("got %+v, want %+v", got, want)
			}
			again, problem := tools.Mend(got)
			if problem != nil || again != got {
				t.Fatalf("mended again: got %+v, %v, want %+v", again, problem, got)
			}
		})
	}
}

func TestMendAllowsWhatItDoesNotKnow(t *testing.T) {
	tools, err := Read([]byte(`[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"any"},"b":{"pattern":"^x"},"c":{"$ref":"https://example.com/s"}}}}},
		{"type":"function","function":{"name":"g"}},{"type":"custom","custom":{"name":"h"}}]`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Call{{Name: "f", Arguments: `{"a":1,"b":"y","c":[{}],"d":null}`}, {Name: "g", Arguments: `{"x":{"y":"z"}}`}} {
		if got, problem := tools.Mend(c); problem != nil || got != c {
			t.Errorf("got %+v, %v, want %+v", got, problem, c)
		}
	}
}

func TestMendSaysWhatCannotBeMended(t *testing.T) {
	tools := desktop(t)
	tests := []struct{ name, call, arguments, want string }{
		{"no such tool", "fly", `{}`, `There is no tool "fly". The tools are: computer_move_mouse,`},
		{"several tools", "mouse", `{"button":"left","press":"up","clickCount":1}`, `There is no tool "mouse". Did you mean one of these: `},
		{"a value that is not allowed", "computer_scroll", `{"coordinates":[1,2],"direction":"sideways","scrollCount":1}`, `"direction" must be one of "up", "down", "left", "right", but is "sideways"`},
		{"something missing", "set_task_status", `{"status":"completed"}`, `"description" is missing; it must be a string`},
		{"a fraction", "computer_scroll", `{"coordinates":[1,2],"direction":"up","scrollCount":1.5}`, `"scrollCount" must be a whole number, but is 1.5`},
		{"a box for a point", "computer_move_mouse", `{"coordinates":[1,2,3,4]}`, `"coordinates" must be an object {"x": number, "y": number}, but is [1,2,3,4]`},
		{"a contradiction", "right_click", `{"coordinates":[1,2],"button":"left"}`, `There is no tool "right_click"`},
		{"cut off", "computer_type_text", `{"text":"hel`, `The arguments of "computer_type_text" are not a JSON object: {"text":"hel`},
		{"not an object", "computer_type_text", `[1]`, `are not a JSON object`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			call := Call{Name: tt.call, Arguments: tt.arguments}
			got, problem := tools.Mend(call)
			if problem == nil {
				t.Fatalf("mended to %+v", got)
			}
			if !strings.Contains(problem.Text, tt.want) {
				t.Fatalf("got %s, want it to contain %s", problem.Text, tt.want)
			}
		})
	}
}

func TestMendKnowsReferencesAndBranches(t *testing.T) {
	tools, err := Read([]byte(`[{"type":"function","function":{"name":"f","parameters":{"type":"object",
		"$defs":{"p":{"type":"object","properties":{"x":{"type":"integer"},"y":{"type":"integer"}},"required":["x","y"]}},
		"properties":{"at":{"$ref":"#/$defs/p"},"id":{"anyOf":[{"type":"integer"},{"type":"null"}]},"loop":{"$ref":"#/$defs/loop"}},
		"required":["at"],"additionalProperties":false}}}]`), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, problem := tools.Mend(Call{Name: "f", Arguments: `{"at":["1",2],"id":"7"}`})
	if want := `{"at":{"x":1,"y":2},"id":7}`; problem != nil || got.Arguments != want {
		t.Errorf("got %s, %v, want %s", got.Arguments, problem, want)
	}
	if _, problem := tools.Mend(Call{Name: "f", Arguments: `{"at":[1,2],"more":1}`}); problem == nil || !strings.Contains(problem.Text, `"more" is not a property`) {
		t.Errorf("got %v, want a complaint about the property", problem)
	}
}
