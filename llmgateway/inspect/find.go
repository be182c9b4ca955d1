package inspect

import (
	"fmt"
	"os"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

// Find returns the models among files and in folders. In a folder they are found as the gateway finds them: a split model
// is one model, projectors are shown with the models that they belong to, and what is not offered has a problem.
func Find(paths ...string) ([]*Model, error) {
	var models []*Model
	for _, path := range paths {
		stat, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("looking for models: %w", err)
		}
		if !stat.IsDir() {
			m, _ := Open(path)
			if projector := local.FindProjector(path); projector != "" {
				p, _ := Open(projector)
				m.See(p)
			}
			models = append(models, m)
			continue
		}
		found, err := local.List(path)
		if err != nil {
			return nil, fmt.Errorf("looking for models: %w", err)
		}
		for _, f := range found {
			m, _ := Open(f.Path)
			if m.Problem == "" {
				m.Problem = f.Problem
			}
			if f.Projector != "" {
				projector, _ := Open(f.Projector)
				m.See(projector)
			}
			models = append(models, m)
		}
	}
	return models, nil
}
