package settings

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

//go:generate go test -run TestSchemaIsThatOfTheTypes -update

var update = flag.Bool("update", false, "write the schema")

const schemaFile = "../config.schema.json"

// TestSchemaIsThatOfTheTypes compares the schema for editors with what the types and their comments say.
func TestSchemaIsThatOfTheTypes(t *testing.T) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(schema(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, text.Bytes()) {
		t.Error("llmgateway/config.schema.json is not what the types say; run `make generate`")
	}
}

// An editor must accept what the gateway accepts, and mark what it refuses for its form.
func TestSchemaAgreesWithTheParser(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	checked, err := compiler.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := os.ReadFile("../config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cases := slices.Concat([]string{string(seed), minimal}, slices.Collect(maps.Values(right)))
	for _, text := range cases {
		if err := checked.Validate(instance(t, text)); err != nil {
			t.Errorf("%v\nin\n%s", err, text)
		}
	}
	for _, c := range wrong {
		if !c.form {
			continue
		}
		if checked.Validate(instance(t, c.text)) == nil {
			t.Errorf("%s: the schema accepts\n%s", c.name, c.text)
		}
	}
}

// TestDocumentKnowsEveryField reads the reference of the format, whose examples must be right.
func TestDocumentKnowsEveryField(t *testing.T) {
	text, err := os.ReadFile("../../docs/config-yaml.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(text)
	for _, section := range []reflect.Type{
		reflect.TypeFor[Server](), reflect.TypeFor[Client](), reflect.TypeFor[Provider](), reflect.TypeFor[Params](), reflect.TypeFor[AutoPick](), reflect.TypeFor[Cache](), reflect.TypeFor[RateLimit](),
	} {
		for _, name := range fieldNames(section) {
			if !strings.Contains(document, "\n| `"+name+"` | ") {
				t.Errorf("docs/config-yaml.md does not explain %s", name)
			}
		}
	}
	for i, part := range strings.Split(document, "```yaml\n")[1:] {
		example, _, _ := strings.Cut(part, "```")
		if _, err := Parse([]byte(example), none); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
	}
}

// instance returns a YAML document as the schema's checker expects it.
func instance(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

type object = map[string]any

// schema returns the JSON Schema of Settings, in the draft that editors know best.
func schema(t *testing.T) object {
	t.Helper()
	root := structSchema(reflect.TypeFor[Settings](), comments(t))
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "LLMGateway's config.yaml"
	root["required"] = []string{"providers"}
	providers := root["properties"].(object)["providers"].(object)
	providers["minItems"] = 1
	item := providers["items"].(object)
	item["required"] = []string{"name", "type"}
	names := item["properties"].(object)["name"].(object)
	names["pattern"] = strings.TrimSuffix(providerName.String(), "$") + `$|` + variablePattern
	clients := root["properties"].(object)["clients"].(object)
	clients["minItems"] = 1
	client := clients["items"].(object)
	client["required"] = []string{"name", "api_key"}
	client["properties"].(object)["name"].(object)["pattern"] = names["pattern"]
	service := []string{"model_path", "params"}
	item["allOf"] = []object{
		typeRule(LlamaCPP, []string{"model_path"}, []string{"model", "api_key", "base_url"}),
		typeRule(HuggingFace, []string{"api_key", "model"}, service),
		typeRule(OpenRouter, []string{"api_key", "model"}, service),
		typeRule(OpenAICompatible, []string{"base_url", "model"}, service),
	}
	return root
}

// typeRule says which fields a provider of a type needs, and which have no meaning for it.
func typeRule(name string, needed, meaningless []string) object {
	properties := make(object)
	for _, field := range meaningless {
		properties[field] = false
	}
	return object{
		"if":   object{"properties": object{"type": object{"const": name}}, "required": []string{"type"}},
		"then": object{"required": needed, "properties": properties},
	}
}

const (
	variablePattern = `\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}`
	secretPattern   = `^(\$\{[A-Za-z_][A-Za-z0-9_]*\}|\{env\.[A-Za-z_][A-Za-z0-9_]*\}|\{file\.[^{}\s]+\})$`
)

func structSchema(t reflect.Type, docs map[string]string) object {
	defaults := reflect.New(t)
	if d, ok := reflect.TypeAssert[defaulter](defaults); ok {
		d.setDefaults()
	}
	properties := make(object)
	for field := range t.Fields() {
		name := field.Tag.Get("yaml")
		if name == "" {
			continue
		}
		s := valueSchema(field, docs)
		s["description"] = docs[t.Name()+"."+field.Name]
		if value := defaults.Elem().FieldByIndex(field.Index); value.Kind() != reflect.Struct && !value.IsZero() {
			s["default"] = value.Interface()
		}
		properties[name] = s
	}
	return object{"type": []string{"object", "null"}, "description": docs[t.Name()], "additionalProperties": false, "properties": properties}
}

func valueSchema(field reflect.StructField, docs map[string]string) object {
	t := field.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	variable := object{"type": "string", "pattern": variablePattern}
	switch t {
	case reflect.TypeFor[Secret]():
		return object{"type": "string", "pattern": secretPattern}
	case reflect.TypeFor[Text]():
		return object{"type": "string", "minLength": 1}
	case reflect.TypeFor[Layers]():
		return object{"anyOf": []object{{"type": "integer", "minimum": -1}, {"const": "all"}, variable}}
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(t, docs)
	case reflect.Slice:
		item := object{"type": "string"}
		if t.Elem().Kind() == reflect.Pointer {
			item = structSchema(t.Elem().Elem(), docs)
			item["type"] = "object"
		}
		return object{"type": "array", "items": item}
	case reflect.Bool:
		return object{"anyOf": []object{{"type": "boolean"}, variable}}
	case reflect.Int:
		least, most := limits(field.Tag.Get("range"))
		return object{"anyOf": []object{{"type": "integer", "minimum": least, "maximum": most}, variable}}
	default:
		if words := field.Tag.Get("enum"); words != "" {
			return object{"anyOf": []object{{"enum": strings.Split(words, ",")}, variable}}
		}
		return object{"type": "string"}
	}
}

// comments returns the comments of the package's structs, by their names, and of their fields, by Struct.Field.
func comments(t *testing.T) map[string]string {
	t.Helper()
	docs := make(map[string]string)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok || len(general.Specs) != 1 {
				continue
			}
			spec, ok := general.Specs[0].(*ast.TypeSpec)
			if !ok {
				continue
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			docs[spec.Name.Name] = strings.TrimSpace(general.Doc.Text())
			for _, field := range fields.Fields.List {
				for _, name := range field.Names {
					docs[spec.Name.Name+"."+name.Name] = strings.TrimSpace(field.Doc.Text())
				}
			}
		}
	}
	return docs
}
