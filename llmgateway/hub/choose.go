package hub

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// DefaultQuant is what [Choose] takes of several quantizations if none is named: about 4.8 bits a weight, the usual
// compromise of size and quality.
const DefaultQuant = "Q4_K_M"

// Choose returns the files of the one model that is wanted: a file by path or name, or a quantization; all of its files
// if the model is split. If nothing is wanted, it is the repository's only model, or the one in [DefaultQuant].
func Choose(files []File, want string) ([]File, error) {
	if i := slices.IndexFunc(files, func(f File) bool { return f.Path == want && isProjector(f.Path) }); i >= 0 {
		return files[i : i+1 : i+1], nil // by its own name only
	}
	models := byModel(files)
	if len(models) == 0 {
		return nil, fmt.Errorf("the repository has no GGUF file; look for one whose name ends in -GGUF")
	}
	var found [][]File
	switch {
	case want == "" && len(models) == 1:
		found = models
	case want == "":
		found = quantized(models, DefaultQuant)
		if len(found) == 0 {
			return nil, fmt.Errorf("the repository has no model in %s; name one behind a colon: %s", DefaultQuant, names(models))
		}
	default:
		found = named(models, want)
		if len(found) == 0 && isQuant(want) {
			found = quantized(models, want)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("the repository has no %s; there are: %s", want, names(similar(models, want)))
		}
	}
	if len(found) > 1 {
		return nil, fmt.Errorf("several models fit; name one behind a colon: %s", names(found))
	}
	model := found[0]
	if match := partName.FindStringSubmatch(model[0].Path); match != nil && fmt.Sprintf("%05d", len(model)) != match[3] {
		return nil, fmt.Errorf("the repository has %d of the model's %s files only", len(model), strings.TrimLeft(match[3], "0"))
	}
	return model, nil
}

// ChooseProjector returns the vision projector among the files: the one in F16 if there are several.
func ChooseProjector(files []File) (File, error) {
	var projectors []File
	for _, f := range files {
		if isGGUF(f.Path) && isProjector(f.Path) {
			projectors = append(projectors, f)
		}
	}
	for _, quant := range []string{"F16", "BF16", "Q8_0", "F32"} {
		if i := slices.IndexFunc(projectors, func(f File) bool { return hasQuant(f.Path, quant) }); i >= 0 {
			return projectors[i], nil
		}
	}
	if len(projectors) == 0 {
		return File{}, fmt.Errorf("the repository has no vision projector (mmproj)")
	}
	return projectors[0], nil
}

func isGGUF(name string) bool { return strings.EqualFold(path.Ext(name), ".gguf") }

func isProjector(name string) bool {
	return strings.Contains(strings.ToLower(path.Base(name)), "mmproj")
}

// byModel returns the GGUF files that are models, grouped by model.
func byModel(files []File) [][]File {
	var models [][]File
	at := map[string]int{}
	for _, f := range files {
		base := strings.ToLower(path.Base(f.Path))
		if !isGGUF(f.Path) || isProjector(f.Path) || strings.HasPrefix(base, "imatrix") {
			continue
		}
		key := f.Path
		if match := partName.FindStringSubmatch(f.Path); match != nil {
			key = match[1] + "-of-" + match[3]
		}
		i, ok := at[key]
		if !ok {
			i = len(models)
			at[key] = i
			models = append(models, nil)
		}
		models[i] = append(models[i], f)
	}
	for _, model := range models {
		slices.SortFunc(model, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	}
	return models
}

// partName matches the file of a split model.
var partName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// named returns the models with a file of that path or, if there is none, of that name, with or without .gguf.
func named(models [][]File, want string) [][]File {
	for _, same := range []func(string) bool{
		func(p string) bool { return p == want },
		func(p string) bool { return path.Base(p) == want || path.Base(p) == want+".gguf" },
		func(p string) bool {
			return partName.ReplaceAllString(path.Base(p), "$1") == strings.TrimSuffix(want, ".gguf")
		},
	} {
		var found [][]File
		for _, model := range models {
			if slices.ContainsFunc(model, func(f File) bool { return same(f.Path) }) {
				found = append(found, model)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

func quantized(models [][]File, quant string) [][]File {
	var found [][]File
	for _, model := range models {
		if hasQuant(model[0].Path, quant) {
			found = append(found, model)
		}
	}
	return found
}

// isQuant reports whether s looks like the name of a quantization and not of a file.
func isQuant(s string) bool { return quantName.MatchString(s) }

var quantName = regexp.MustCompile(`^[A-Za-z0-9_]+(-[A-Za-z0-9_]+)?$`)

// hasQuant reports whether a file's name, or its folder's, has the quantization as a word of its own: Q4_K is not in
// Q4_K_M.
func hasQuant(name, quant string) bool {
	name, quant = strings.ToLower(name), strings.ToLower(quant)
	for at := 0; ; {
		i := strings.Index(name[at:], quant)
		if i < 0 {
			return false
		}
		begin, end := at+i, at+i+len(quant)
		if (begin == 0 || !isWord(name[begin-1])) && (end == len(name) || !isWord(name[end])) {
			return true
		}
		at = begin + 1
	}
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z'
}

// names lists models for people, the first twenty.
func names(models [][]File) string {
	const most = 20
	var list []string
	for i, model := range models {
		if i == most {
			list = append(list, fmt.Sprintf("and %d more", len(models)-most))
			break
		}
		list = append(list, model[0].Path)
	}
	return strings.Join(list, ", ")
}

// similar sorts models by how much of their names is in what was wanted.
func similar(models [][]File, want string) [][]File {
	want = strings.ToLower(want)
	alike := func(model []File) int {
		name := strings.ToLower(path.Base(model[0].Path))
		n := 0
		for i := 0; i+3 <= len(want); i++ {
			if strings.Contains(name, want[i:i+3]) {
				n++
			}
		}
		return n
	}
	sorted := slices.Clone(models)
	slices.SortStableFunc(sorted, func(a, b []File) int { return alike(b) - alike(a) })
	return sorted
}
