package local

import (
	"maps"
	"path/filepath"
	"slices"
	"time"
)

// Listed is a GGUF file in a folder, as [Folder] takes it.
type Listed struct {
	// Path is the file, the first one of a model in several.
	Path string
	// Projector is the file that the model would see images with, or empty.
	Projector string
	// Problem says why the file is not offered as a model, or is empty.
	Problem string
}

// List returns what is in a folder of models and in the folders in it: the models, then what is not offered and why. It
// runs nothing. An error concerns the folder, and what could be read is returned all the same.
func List(dir string) ([]Listed, error) {
	s := scanner{dir: dir}
	files, err := s.scan(time.Now())
	inv := takeInventory(dir, files)
	var list []Listed
	for _, m := range inv.models {
		list = append(list, Listed{Path: m.file.path, Projector: m.projector.path})
	}
	for _, name := range slices.Sorted(maps.Keys(inv.broken)) {
		for _, w := range files { // its first file
			if (Config{ModelPath: w.path}).Name() == name {
				list = append(list, Listed{Path: w.path, Problem: inv.broken[name]})
				break
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(inv.others)) {
		list = append(list, Listed{Path: filepath.Join(dir, name), Problem: inv.others[name]})
	}
	return list, err
}

// Parts returns the files of a model whose first file is at path, that one included, as its name tells.
func Parts(path string) []string { return parts(path) }
