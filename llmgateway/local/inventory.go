package local

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// inventory is what the files of a folder mean.
type inventory struct {
	models []item
	// broken says why models are not offered, by name, and others why other files are not, by path in the folder.
	broken, others map[string]string
}

// item is a model of one or several files, and its projector.
type item struct {
	name            string
	file, projector weights // projector has no path if there is none
	id              fileID  // of all files but the projector
}

// takeInventory makes models of the files in the folder dir, which are ordered.
func takeInventory(dir string, files []weights) inventory {
	inv := inventory{broken: make(map[string]string), others: make(map[string]string)}
	short := func(path string) string {
		return strings.TrimLeft(strings.TrimPrefix(path, dir), string(filepath.Separator))
	}
	skip := func(path, why string) { inv.others[short(path)] = why }
	var projectors, rest []weights
	for _, w := range files {
		named := strings.Contains(strings.ToLower(filepath.Base(w.path)), kindProjector)
		switch {
		case !utf8.ValidString(w.path):
			inv.others[strings.ToValidUTF8(short(w.path), "?")] = "its name is no UTF-8"
		case w.err == nil && w.kind == kindProjector:
			projectors = append(projectors, w)
		case w.err == nil && w.kind != kindModel:
			skip(w.path, "it is no model, but: "+w.kind)
		case named && w.err == nil:
			skip(w.path, "it is named like a vision projector, but is none")
		case named:
			skip(w.path, why(w))
		default:
			rest = append(rest, w)
		}
	}
	var models []item
	var broken []item
	reasons := make(map[string]string) // by path
	for _, group := range groups(rest) {
		model, reason := assemble(group)
		if reason != "" {
			broken, reasons[model.file.path] = append(broken, model), reason
			continue
		}
		models = append(models, model)
	}
	used := pair(dir, models, projectors)
	for _, p := range projectors {
		if !used[p.path] {
			skip(p.path, "no model here is named like this vision projector and has the embedding length that it was made for")
		}
	}
	taken := make(map[string]string, len(models))
	for _, model := range models {
		if other, ok := taken[model.name]; ok {
			skip(model.file.path, "its name is taken by "+other)
			continue
		}
		taken[model.name] = short(model.file.path)
		inv.models = append(inv.models, model)
	}
	for _, model := range broken {
		reason := reasons[model.file.path]
		if _, ok := taken[model.name]; ok {
			skip(model.file.path, reason)
		} else {
			inv.broken[model.name] = reason
		}
	}
	slices.SortFunc(inv.models, func(a, b item) int { return cmp.Compare(a.name, b.name) })
	return inv
}

// why says why a file cannot be used.
func why(w weights) string {
	if errors.Is(w.err, errWriting) {
		return filepath.Base(w.path) + " is still being written"
	}
	return unusable(w.path, w.err)
}

// groups puts parts of the same model together, in the order of their first files.
func groups(files []weights) [][]weights {
	type key struct {
		base  string
		count int
	}
	places := make(map[key]int, len(files))
	var all [][]weights
	for _, w := range files {
		base, _, count := splitName(w.path)
		place, ok := places[key{base, count}]
		if !ok || count == 0 {
			place = len(all)
			places[key{base, count}] = place
			all = append(all, nil)
		}
		all[place] = append(all[place], w)
	}
	return all
}

// assemble makes a model of its files, which are ordered. It also returns why it cannot be used, if so.
func assemble(files []weights) (model item, reason string) {
	_, _, count := splitName(files[0].path)
	model = item{name: Config{ModelPath: files[0].path}.Name(), file: files[0]}
	if count > maxParts {
		return model, fmt.Sprintf("it has more than %d parts", maxParts)
	}
	for i, w := range files {
		_, number, _ := splitName(w.path)
		switch {
		case count > 0 && number == 0, number > count:
			return model, fmt.Sprintf("there is no part %d of %d", number, count)
		case count > 0 && number != i+1:
			return model, fmt.Sprintf("part %d of %d is missing", i+1, count)
		case w.err != nil:
			return model, why(w)
		}
		model.id = model.id.with(w.id)
	}
	if len(files) < count {
		return model, fmt.Sprintf("part %d of %d is missing", len(files)+1, count)
	}
	if said := files[0].parts; max(said, 1) != uint64(max(count, 1)) {
		return model, fmt.Sprintf("it has %d parts, as its header says, but %d as its name says", said, max(count, 1))
	}
	return model, ""
}

// quantization matches how names end that tell the precision of the numbers in a file.
var quantization = regexp.MustCompile(`(?i)(^|[-_.])((ud[-_])?(i?q\d\w*|tq\d_\d|b?f16|fp16|f32|fp32|fp8|mxfp4\w*|nvfp4)|imat|i1)$`)

// stem returns a name without what tells the precision, and without what makes it the name of a projector.
func stem(path string) string {
	base, _, _ := splitName(filepath.Base(path))
	base = strings.ToLower(base)
	for {
		shorter := quantization.ReplaceAllString(base, "")
		shorter = strings.Trim(shorter, "-_.")
		if shorter == base {
			break
		}
		base = shorter
	}
	before, after, isProjector := strings.Cut(base, kindProjector)
	if !isProjector {
		return base
	}
	before, after = strings.Trim(before, "-_."), strings.Trim(after, "-_.")
	if before == "" || after == "" {
		base = before + after
	} else {
		base = before + "-" + after
	}
	// Converters call the file like this if they are told no name.
	if base == "model" || base == "ggml-model" {
		return ""
	}
	return base
}

// pair gives models their projectors and returns the projectors, by path, that some model could have been given. Both
// lie in the same folder, and one of these holds:
//
//   - they are named alike, but for precision and the word mmproj: mmproj-Qwen2.5-VL-7B-Instruct-f16.gguf belongs to
//     Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf;
//   - the model's name begins with the projector's;
//   - the models in the folder are one model in several precisions, and the projector has no name, like mmproj-F16.gguf, or
//     the folder is one for this model.
//
// Whatever the names say, the projector must lead to the model's embedding length.
func pair(dir string, models []item, projectors []weights) (used map[string]bool) {
	used = make(map[string]bool)
	stems := make(map[string]map[string]bool) // of models, by folder
	for _, m := range models {
		folder := filepath.Dir(m.file.path)
		if stems[folder] == nil {
			stems[folder] = make(map[string]bool)
		}
		stems[folder][stem(m.file.path)] = true
	}
	for i, m := range models {
		folder := filepath.Dir(m.file.path)
		best, bestRank := weights{}, rank{}
		for _, p := range projectors {
			if filepath.Dir(p.path) != folder || !p.leadsTo(m.file) {
				continue
			}
			r := rank{likeness: likeness(stem(m.file.path), stem(p.path), len(stems[folder]) == 1, folder != dir), fileType: p.fileType}
			if r.likeness == 0 {
				continue
			}
			used[p.path] = true
			if best.path == "" || r.before(bestRank) {
				best, bestRank = p, r
			}
		}
		models[i].projector = best
	}
	return used
}

// likeness says how well the stems of a model and a projector go together; 0 is not at all. alone means that the folder has
// no other models, own that it lies in the models' folder.
func likeness(model, projector string, alone, own bool) int {
	const better = 1 << 16 // than any common beginning
	switch rest, begins := strings.CutPrefix(model, projector); {
	case projector == model:
		return better
	case projector != "" && begins && strings.ContainsAny(rest[:1], "-_."):
		return 1 + len(projector)
	case alone && (projector == "" || own):
		return 1
	default:
		return 0
	}
}

// rank orders the projectors that go with a model.
type rank struct {
	likeness int
	fileType gguf.FileType
}

// precisions are those of projectors, the preferred first: f16 runs everywhere and loses nothing that could be seen.
var precisions = []gguf.FileType{1, 32, 0, 7} // F16, BF16, F32, Q8_0

func (r rank) before(o rank) bool {
	if r.likeness != o.likeness {
		return r.likeness > o.likeness
	}
	place := func(t gguf.FileType) int {
		if i := slices.Index(precisions, t); i >= 0 {
			return i
		}
		return len(precisions)
	}
	return place(r.fileType) < place(o.fileType)
}
