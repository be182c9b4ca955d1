package hub

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Pull is a model that is wanted in a folder.
type Pull struct {
	Reference

	// Dir is the folder that the files go into. It is made if it is not there.
	Dir string
	// Projector is true if the vision projector of the repository is wanted too.
	Projector bool
	// Replace lets files be replaced that are there and differ.
	Replace bool
}

// Pull downloads a model with all its files, and returns where they are: the model's first file comes first, the
// projector last.
func (c *Client) Pull(ctx context.Context, p Pull) ([]string, error) {
	files, err := c.Files(ctx, p.Reference)
	if err != nil {
		return nil, err
	}
	model, err := Choose(files, p.Want)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Repo, err)
	}
	names := make([]string, 0, len(model)+1)
	for _, f := range model {
		names = append(names, path.Base(f.Path))
	}
	if p.Projector {
		f, err := ChooseProjector(files)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Repo, err)
		}
		model = append(model, f)
		names = append(names, projectorName(names[0], path.Base(f.Path)))
	}
	// Models are no secret: a gateway that runs as another user reads them.
	if err := os.MkdirAll(p.Dir, 0o755); err != nil { //nolint:gosec // see above
		return nil, err
	}
	paths := make([]string, 0, len(model))
	for i, f := range model {
		dest := filepath.Join(p.Dir, names[i])
		if err := c.Download(ctx, p.Reference, f, dest, p.Replace); err != nil {
			return paths, err
		}
		paths = append(paths, dest)
	}
	return paths, nil
}

// projectorName returns the name for a projector beside its model. Many repositories call theirs mmproj-F16.gguf; in a
// folder of several models it gets the model's name, by which the gateway finds it.
func projectorName(model, projector string) string {
	match := namelessProjector.FindStringSubmatch(projector)
	if match == nil {
		return projector
	}
	model = strings.TrimSuffix(partName.ReplaceAllString(model, "$1.gguf"), ".gguf")
	return "mmproj-" + quantEnding.ReplaceAllString(model, "") + match[1] + ".gguf"
}

var (
	namelessProjector = regexp.MustCompile(`(?i)^(?:mmproj(?:-model)?|model-mmproj)((?:[-_.](?:b?f16|fp16|f32|q8_0))?)\.gguf$`)
	quantEnding       = regexp.MustCompile(`(?i)[-_.](?:ud[-_])?(?:i?q\d\w*|tq\d_\d|b?f16|fp16|f32|fp32|mxfp4\w*)$`)
)
