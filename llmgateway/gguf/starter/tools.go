package starter

// favourite is the tool that is called when it is offered and the user named none: looking costs nothing.
const favourite = "computer_screenshot"

// finish is the tool that ends a Bytebot task. It is called after a tool's result, and only then.
const finish = "set_task_status"

// knownTools are names that are one token to the model, which it can therefore copy out of a prompt. The ones in front
// are preferred where several are offered. Names that are not here work too, if llama-server offers them: it then
// allows nothing else, letter by letter.
var knownTools = []string{
	favourite,
	"get_weather", "get_current_weather", "get_time", "get_current_time", "web_search", "list_files", "read_file",
	"computer_cursor_position", "computer_application", "computer_read_file", "computer_wait", "computer_scroll",
	"computer_move_mouse", "computer_click_mouse", "computer_press_mouse", "computer_drag_mouse", "computer_trace_mouse",
	"computer_type_text", "computer_paste_text", "computer_type_keys", "computer_press_keys", "create_task",
}
