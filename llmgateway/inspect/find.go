package inspect

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Find returns the models among files and in folders, sorted by path within a folder. A split model is found once.
// Projectors in a folder are not listed but shown with the models that they belong to; those that belong to none, and
// files that cannot be read, are listed as what they are.
func Find(paths ...string) ([]*Model, error) {
	var models []*Model
	for _, path := range paths {
		stat, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("looking for models: %w", err)
		}
		if !stat.IsDir() {
			m, _ := Open(path)
			models = append(models, m)
			continue
		}
		found, err := folder(path)
		if err != nil {
			return nil, fmt.Errorf("looking for models: %w", err)
		}
		models = append(models, found...)
	}
	return models, nil
}

// folder returns what is in a folder.
func folder(path string) ([]*Model, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var models, projectors []*Model
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || !strings.EqualFold(filepath.Ext(name), ".gguf") || laterPart(name) {
			continue
		}
		m, _ := Open(filepath.Join(path, name))
		if m.Kind == kindProjector {
			projectors = append(projectors, m)
		} else {
			models = append(models, m)
		}
	}
	for _, m := range models {
		if p := projectorOf(m, projectors, len(models) == 1); p != nil {
			m.See(p)
		}
	}
	for _, p := range projectors {
		if !slices.ContainsFunc(models, func(m *Model) bool { return m.projector == p }) {
			models = append(models, p)
		}
	}
	return models, nil
}

// laterPart reports whether a file is the second or a later one of a split model, whose first one stands for it.
func laterPart(name string) bool {
	match := partName.FindStringSubmatch(strings.TrimSuffix(name, ".gguf"))
	return match != nil && match[1] != "00001"
}

// projectorOf returns the projector that goes with a model in the same folder: the one whose name, without mmproj and how
// it is quantized, begins the model's name, as mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf does; the longest such name. The
// projector of a folder's only model may have any name.
func projectorOf(m *Model, projectors []*Model, only bool) *Model {
	if m.Problem != "" || m.Kind != kindModel {
		return nil
	}
	var best *Model
	length := 0
	for _, p := range projectors {
		stem := projectorStem(p.Name)
		if n := len(stem); n > length && strings.HasPrefix(strings.ToLower(m.Name), stem) {
			best, length = p, n
		}
	}
	if best == nil && only && len(projectors) == 1 {
		return projectors[0]
	}
	return best
}

func projectorStem(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "mmproj", "")
	return strings.Trim(projectorType.ReplaceAllString(name, ""), "-_.")
}

// projectorType matches how a projector's name ends.
var projectorType = regexp.MustCompile(`(?:^|[-_.])(?:model-)?(?:f16|bf16|f32|q\d_[0-9k](?:_[sml])?)$`)
