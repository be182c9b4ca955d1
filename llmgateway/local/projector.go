package local

import (
	"path/filepath"
	"strings"
)

// FindProjector returns the path of the vision projector that lies beside a model's file and is named like it, or "" if
// there is none, or the path is a folder. It is the one that the model would get in a folder of models.
func FindProjector(modelPath string) string {
	if IsFolder(modelPath) {
		return ""
	}
	dir := filepath.Dir(modelPath)
	s := scanner{dir: dir, names: maxNames}
	paths, _, _ := s.listFolder(dir)
	var models []item
	var projectors []weights
	for _, path := range paths {
		switch {
		case !strings.Contains(strings.ToLower(filepath.Base(path)), kindProjector):
			// Of other models, the names do.
			models = append(models, item{file: weights{path: path}})
		case len(projectors) < maxFiles:
			if w := readWeights(path); w.err == nil && w.kind == kindProjector {
				projectors = append(projectors, w)
			}
		}
	}
	model := item{file: readWeights(filepath.Join(dir, filepath.Base(modelPath)))}
	models = append(models, model)
	pair(dir, models, projectors)
	return models[len(models)-1].projector.path
}
