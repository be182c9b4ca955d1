// Command sbom prints a software bill of materials in CycloneDX's JSON format: the Go modules that a program was built of, or
// components that it is told.
//
//	sbom [-binary PROGRAM] NAME VERSION [NAME VERSION]...
//
// The first name and version are those of the whole. The same input gives the same bytes.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
)

// document is a bill of materials, with those members of the format that it needs.
type document struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("sbom: ")
	binary := flag.String("binary", "", "the Go `program` whose modules are listed")
	flag.Parse()
	if err := run(os.Stdout, *binary, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(w io.Writer, binary string, args []string) error {
	if len(args) < 2 || len(args)%2 != 0 {
		return errors.New("say names and versions: sbom [-binary PROGRAM] NAME VERSION [NAME VERSION]")
	}
	doc := document{
		Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata:   metadata{component{Type: "application", Name: args[0], Version: args[1]}},
		Components: []component{},
	}
	for pair := range slices.Chunk(args[2:], 2) {
		doc.Components = append(doc.Components, component{
			Type: "library", Name: pair[0], Version: pair[1], PURL: "pkg:generic/" + pair[0] + "@" + pair[1],
		})
	}
	if binary != "" {
		modules, err := goModules(binary)
		if err != nil {
			return err
		}
		doc.Components = append(doc.Components, modules...)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "\t")
	return encoder.Encode(doc)
}

// goModules returns the modules that a Go program consists of, with the version of Go itself.
func goModules(binary string) ([]component, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("reading how %s was built: %w", binary, err)
	}
	version := strings.TrimPrefix(info.GoVersion, "go")
	modules := []component{{Type: "library", Name: "std", Version: version, PURL: "pkg:golang/std@" + version}}
	for _, module := range info.Deps {
		if module.Replace != nil && module.Replace.Version != "" {
			module = module.Replace
		}
		modules = append(modules, component{
			Type: "library", Name: module.Path, Version: module.Version, PURL: "pkg:golang/" + module.Path + "@" + module.Version,
		})
	}
	return modules, nil
}
