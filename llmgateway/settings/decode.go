package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// positions are where settings stand in the file, by the address of what they were read into.
type positions map[any]*yaml.Node

// decoder reads nodes of YAML into settings and collects what is wrong with them.
type decoder struct {
	variables variables
	at        positions
	problems  Errors
}

// defaulter is a section or a list's item that has defaults of its own.
type defaulter interface{ setDefaults() }

// custom is a setting with a notation of its own.
type custom interface{ set(text string) error }

// errorf notes what is wrong with a node. path says which setting it is.
func (d *decoder) errorf(n *yaml.Node, path, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if path != "" {
		message = path + ": " + message
	}
	d.problems = append(d.problems, &Problem{max(n.Line, 1), max(n.Column, 1), message})
}

// decode reads a node into what to points to.
func (d *decoder) decode(n *yaml.Node, path string, to reflect.Value) {
	d.at[to.Addr().Interface()] = n
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if _, ok := reflect.TypeAssert[custom](to.Addr()); ok {
		d.scalar(n, path, to)
		return
	}
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		d.decode(n, path, to.Elem())
	case reflect.Struct:
		d.mapping(n, path, to)
	case reflect.Slice:
		d.sequence(n, path, to)
	default:
		d.scalar(n, path, to)
	}
}

// mapping reads the fields of a struct.
func (d *decoder) mapping(n *yaml.Node, path string, to reflect.Value) {
	if s, ok := reflect.TypeAssert[defaulter](to.Addr()); ok {
		s.setDefaults()
	}
	if n.Kind != yaml.MappingNode {
		d.errorf(n, path, "%s here; there are fields to be: %s", found(n), strings.Join(fieldNames(to.Type()), ", "))
		return
	}
	fields := fieldsOf(to.Type())
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		name := key.Value
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			d.errorf(n.Content[i], path, "write the name of a field; other keys, << among them, have no meaning here")
			continue
		}
		index, known := fields[name]
		inner := join(path, name)
		switch line, repeated := seen[name]; {
		case !known:
			d.errorf(n.Content[i], path, "there is no field %s%s; there are: %s", shown(name), meant(name, fieldNames(to.Type())), strings.Join(fieldNames(to.Type()), ", "))
			continue
		case repeated:
			d.errorf(n.Content[i], inner, "it is already set in line %d", line)
			continue
		}
		seen[name] = key.Line
		field := to.Type().Field(index)
		if empty(value) {
			// A section whose lines are all comments is left out; a value is not.
			if kind := field.Type.Kind(); kind != reflect.Struct && kind != reflect.Pointer || isScalar(field.Type) {
				d.errorf(n.Content[i], inner, "there is no value; write one, or remove the line")
			}
			continue
		}
		d.decode(value, inner, to.Field(index))
		d.check(value, inner, field.Tag, to.Field(index))
	}
}

// sequence reads the items of a list.
func (d *decoder) sequence(n *yaml.Node, path string, to reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.errorf(n, path, "%s here; write a list, each of its items in a line that begins with -", found(n))
		return
	}
	to.Set(reflect.MakeSlice(to.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		inner := fmt.Sprintf("%s[%d]", path, i)
		if empty(item) {
			d.errorf(item, inner, "the item is empty; write it, or remove the line")
			if kind := to.Type().Elem().Kind(); kind == reflect.Pointer {
				to.Index(i).Set(reflect.New(to.Type().Elem().Elem()))
			}
			continue
		}
		d.decode(item, inner, to.Index(i))
	}
}

// scalar reads a single value.
func (d *decoder) scalar(n *yaml.Node, path string, to reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.errorf(n, path, "%s here; write a single value", found(n))
		return
	}
	var err error
	switch v := to.Addr().Interface().(type) {
	case *Text:
		*v, err = d.variables.text(n.Value)
	case *Secret:
		*v, err = d.variables.secret(n.Value)
	default:
		var text string
		if text, err = d.variables.plain(n.Value); err == nil {
			err = set(to, text)
		}
	}
	if err != nil {
		d.errorf(n, path, "%v", err)
	}
}

// set parses the text of a single value.
func set(to reflect.Value, text string) error {
	if c, ok := reflect.TypeAssert[custom](to.Addr()); ok {
		return c.set(text)
	}
	switch to.Kind() {
	case reflect.Bool:
		switch strings.ToLower(text) {
		case "true":
			to.SetBool(true)
		case "false":
			to.SetBool(false)
		default:
			return fmt.Errorf("%s is neither true nor false", shown(text))
		}
	case reflect.Int:
		value, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%s is not a whole number", shown(text))
		}
		to.SetInt(int64(value))
	default:
		to.SetString(text)
	}
	return nil
}

// check compares a value with what its field allows. Of one that could not be read there is a problem already.
func (d *decoder) check(n *yaml.Node, path string, tag reflect.StructTag, value reflect.Value) {
	if value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	if len(d.problems) > 0 && strings.HasPrefix(d.problems[len(d.problems)-1].Message, path+": ") {
		return
	}
	if bounds := tag.Get("range"); bounds != "" {
		if least, most := limits(bounds); value.Int() < least || value.Int() > most {
			d.errorf(n, path, "%d is not between %d and %d", value.Int(), least, most)
		}
	}
	if words := tag.Get("enum"); words != "" {
		known := strings.Split(words, ",")
		if word := value.String(); !slices.Contains(known, word) {
			d.errorf(n, path, "there is no %s%s; there are: %s", shown(word), meant(word, known), strings.Join(known, ", "))
		}
	}
}

// limits returns the numbers of a range tag.
func limits(bounds string) (least, most int64) {
	from, to, _ := strings.Cut(bounds, "-")
	least, _ = strconv.ParseInt(from, 10, 64)
	most, _ = strconv.ParseInt(to, 10, 64)
	return least, most
}

// fieldsOf returns the fields of a struct by their names in the file.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int)
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			fields[name] = i
		}
	}
	return fields
}

// fieldNames returns the names in the file, in the order of the struct.
func fieldNames(t reflect.Type) []string {
	var names []string
	for field := range t.Fields() {
		if name := field.Tag.Get("yaml"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// isScalar reports whether a field is a single value, or a pointer to one.
func isScalar(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() != reflect.Struct && t.Kind() != reflect.Slice
}

func empty(n *yaml.Node) bool {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// found says what kind of thing a node is.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "there are fields"
	case yaml.SequenceNode:
		return "there is a list"
	default:
		return "there is a single value"
	}
}

// meant returns a question whether a known name was meant, or "".
func meant(wrong string, known []string) string {
	if name := nearest(wrong, known); name != "" {
		return " (did you mean " + name + "?)"
	}
	return ""
}

// shown quotes what stands in the file, shortened. It is for names and numbers, never for what may be a secret.
func shown(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return strconv.Quote(s)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
