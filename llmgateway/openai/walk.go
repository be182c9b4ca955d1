package openai

// EachElement calls each for the elements of the list at an offset of valid JSON, with where the element starts, and returns where
// the list ends. each returns where the element ends. Another value has no elements.
func EachElement(json []byte, at int, each func(element int) (end int)) (end int) {
	return eachElement(json, at, each)
}

// EachMember does for the members of an object what [EachElement] does for a list. The name is as it is written, without its
// quotes.
func EachMember(json []byte, at int, each func(name []byte, value int) (end int)) (end int) {
	return eachMember(json, at, each)
}

// Skip returns where the value at an offset of valid JSON ends. Strings are skipped at memory speed.
func Skip(json []byte, at int) (end int) { return skip(json, at) }

// Space returns where the first value of JSON begins.
func Space(json []byte) int { return skipSpace(json, 0) }

// Valid returns what is wrong with JSON that should be an object, or nil.
func Valid(json []byte) error { return checkObject(json) }
