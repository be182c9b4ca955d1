package openai

import (
	"encoding/json"
	"fmt"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

const (
	maxModels      = 16
	maxModelsBytes = 8 << 10
)

// Models returns the models that a client wants to be asked one after the other, as OpenRouter's member "models" says: first the
// one in "model", then those of the list. Without the list there is that one. No name is there twice.
func Models(r *llmgateway.Request) ([]string, error) {
	names := []string{r.Model}
	m, ok := r.Lookup("models")
	if !ok {
		return names, nil
	}
	var list []string
	raw := r.Raw(m)
	if len(raw) > maxModelsBytes || json.Unmarshal(raw, &list) != nil {
		return nil, invalid("models", `the member "models" must be a list of models' names`)
	}
	seen := map[string]bool{r.Model: true}
	for _, name := range list {
		if name == "" {
			return nil, invalid("models", `the member "models" has a name that is empty`)
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	if len(names) > maxModels {
		return nil, invalid("models", fmt.Sprintf(`the member "models" has too many names; name at most %d`, maxModels))
	}
	return names, nil
}
