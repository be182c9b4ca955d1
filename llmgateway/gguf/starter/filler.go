package starter

import "strings"

// filler returns pieces of ordinary text, each of them one token that means nothing, so that a prompt of a thousand
// characters is not a thousand tokens. The longest token that fits is taken first, which has a second use: "account" is
// here so that it is not read as a wish to count.
func filler() []string {
	pieces := strings.Fields(fillerText)
	for i, p := range pieces {
		pieces[i] = strings.ReplaceAll(p, "_", " ")
	}
	return pieces
}

// An underscore stands for a space.
const fillerText = `
account Account counter country countries Country discount encounter _the _and _you _that _this _with _for _are _not
_but _have _has _from _they _what _when _where _which _will _would _can _could _should _must _your _all _any _each
_every _more _most _other _than _then _there _their _these _those _was _were _been _being _about _after _before
_between _into _over _only _also _always _never _again _one _two _use _used _using _user _make _take _give _find _open
_close _click _type _text _key _keys _mouse _screen _button _window _task _tool _tools _file _path _name _number
_value _list _page _time _date _string _object _array _true _false _null _in _is _it _of _on _or _to _be _by _do _if
_as _at _an _we _so _no _I _a ing tion ment ness able ight ould ous ive ure age ate ent ant ers est ity ies ed er
es ly al an ar en el et ch sh th st re ro ri ra de di co ca com con pro pre per in un on or ou ow ee ea ll ss tt le li
lo la se si so te ti ta to ve vi me mo ma ne ni no na he ha hi wh ge The You If When This It In Do ._ ,_ :_ ;_ __ ____
** ── ... #_ -_ ":_" ",_" ":_{ "}, ":_[ "}," "type":_" "description":_" "properties":_{ "required":_[ "parameters":_{
"function":_{ "string" "number" "object" "integer" "boolean" "array" "enum":_[ "items":_{ _default _following _example
computer _environment _memory _directory _available _system _current default "name":_" _output _specific _command
_multiple _function _different _application application _information _automatically _required _please _during _The
_first _already _same _items _size _content _argument _possible _through _description _status status _code _context
_image _result _message _answer _question _want _need _may _such _like _both _until _instead _while _work _call _start
_stop _run _show _see _set _get _read _write _send _add _change _select _press _scroll _desktop _browser _website
_document _email _password _folder _link _field _form _step _action _request _response _order _line _word _words
_language _model _here _how _who _why _some _many _just _now _new _last _next _without _because _them _its _my _me
_input _parameter _option _menu _icon _position coordinates "coordinates":_{ _x _y _keyboard _character _characters
_double _left _right _up _down _tell _know _think _say _help _complete _completed _progress _error _follow _perform
object string function number integer _day _year _today _people _person _thing _place _way _part _point _data _test
`
