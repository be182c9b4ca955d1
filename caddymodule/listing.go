package caddymodule

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// listing answers what models there are. It knows it from the configuration, and from folders of models, and asks nobody.
type listing struct {
	h       *Handler
	created int64
	allowed []string // names of the models that are listed, or none for all
}

func newListing(h *Handler) *listing { return &listing{h: h, created: time.Now().Unix()} }

// allowing returns the listing for a client that may ask for some models only, or for all if none is named.
func (l *listing) allowing(models []string) *listing {
	return &listing{h: l.h, created: l.created, allowed: models}
}

// offer is a name that clients may ask for.
type offer struct {
	name  string
	model string // as configured; it ends in * if it stands for many
}

// offers returns all names that are known and answered for now, ordered. A configured name that stands for many is not
// among them, but what it means in a folder of models is.
func (l *listing) offers() []offer {
	found := make(map[offer]bool)
	add := func(name, model string) {
		req := &llmgateway.Request{Model: name, Allowed: l.allowed}
		// Of what stands for many, a nearer one may take the name.
		if l.h.table.Resolve(req) == model && l.h.table.Has(req) {
			found[offer{name, model}] = true
		}
	}
	for model := range l.h.Models {
		if !strings.HasSuffix(model, "*") {
			add(model, model)
			continue
		}
		for _, t := range l.h.Models[model].Targets {
			if folder, ok := l.h.providers[t.Provider].(llmgateway.Catalog); ok && t.Model == "" {
				for _, name := range folder.Models() {
					add(name, model)
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b offer) int { return strings.Compare(a.name, b.name) })
}

// owner returns the first provider of an offer that has the model.
func (l *listing) owner(o offer) string {
	targets := l.h.Models[o.model].Targets
	for _, t := range targets {
		if llmgateway.ProviderOf(l.h.providers[t.Provider], cmp.Or(t.Model, o.name)) != nil {
			return t.Provider
		}
	}
	return targets[0].Provider
}

// modelObject is OpenAI's model object (https://platform.openai.com/docs/api-reference/models/object).
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (l *listing) object(o offer) modelObject {
	return modelObject{ID: o.name, Object: "model", Created: l.created, OwnedBy: l.owner(o)}
}

// models answers GET /v1/models.
func (l *listing) models() (any, error) {
	objects := []modelObject{}
	for _, o := range l.offers() {
		objects = append(objects, l.object(o))
	}
	return map[string]any{"object": "list", "data": objects}, nil
}

// model answers GET /v1/models/{id}, for aliases too.
func (l *listing) model(id string) (any, error) {
	req := &llmgateway.Request{Model: id, Allowed: l.allowed}
	if !l.h.table.Has(req) {
		var names []string
		for _, o := range l.offers() {
			names = append(names, o.name)
		}
		return nil, &llmgateway.Error{
			Kind: llmgateway.NoModel, Param: "model",
			Message: "the model " + strconv.Quote(id) + " does not exist here; there are: " + strings.Join(names, ", "),
		}
	}
	return l.object(offer{id, l.h.table.Resolve(req)}), nil
}

// info answers GET /v1/model/info in LiteLLM's shape (https://docs.litellm.ai/docs/proxy/model_management).
// litellm_params.model is the name that chat completions take. What a model can do is the best of its targets.
func (l *listing) info() (any, error) {
	type params struct {
		Model string `json:"model"`
	}
	type info struct {
		ID              string `json:"id"`
		Mode            string `json:"mode"`
		MaxInputTokens  int    `json:"max_input_tokens,omitempty"`
		MaxTokens       int    `json:"max_tokens,omitempty"`
		Vision          *bool  `json:"supports_vision,omitempty"`
		Audio           *bool  `json:"supports_audio_input,omitempty"`
		Tools           *bool  `json:"supports_function_calling,omitempty"`
		Schema          *bool  `json:"supports_response_schema,omitempty"`
		Reasoning       *bool  `json:"supports_reasoning,omitempty"`
		LiteLLMProvider string `json:"litellm_provider"`
	}
	type entry struct {
		ModelName     string `json:"model_name"`
		LiteLLMParams params `json:"litellm_params"`
		ModelInfo     info   `json:"model_info"`
	}
	entries := []entry{}
	for _, o := range l.offers() {
		best := l.h.table.Models[o.model].Limits(o.name)
		entries = append(entries, entry{o.name, params{o.name}, info{
			ID: o.name, Mode: "chat", LiteLLMProvider: l.owner(o),
			MaxInputTokens: best.Context, MaxTokens: best.Context,
			Vision:    best.Knows(llmgateway.CanSee),
			Audio:     best.Knows(llmgateway.CanHear),
			Tools:     best.Knows(llmgateway.CanCallTools),
			Schema:    best.Knows(llmgateway.CanFollowSchema),
			Reasoning: best.Knows(llmgateway.CanReason),
		}})
	}
	return map[string]any{"data": entries}, nil
}

func writeJSON(w http.ResponseWriter, status int, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, err = w.Write(body)
	return err
}
