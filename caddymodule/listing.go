package caddymodule

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// listing answers what models there are. It knows it from the configuration and asks nobody.
type listing struct {
	h       *Handler
	names   []string // without those that stand for many
	created int64
}

func newListing(h *Handler) *listing {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(h.Models)), func(name string) bool { return strings.HasSuffix(name, "*") })
	return &listing{h: h, names: names, created: time.Now().Unix()}
}

// modelObject is OpenAI's model object (https://platform.openai.com/docs/api-reference/models/object).
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (l *listing) object(id, model string) modelObject {
	return modelObject{ID: id, Object: "model", Created: l.created, OwnedBy: l.h.Models[model].Targets[0].Provider}
}

// models answers GET /v1/models.
func (l *listing) models() (any, error) {
	objects := make([]modelObject, 0, len(l.names))
	for _, name := range l.names {
		objects = append(objects, l.object(name, name))
	}
	return map[string]any{"object": "list", "data": objects}, nil
}

// model answers GET /v1/models/{id}, for aliases too.
func (l *listing) model(id string) (any, error) {
	name := l.h.table.Resolve(&llmgateway.Request{Model: id})
	if name == "" {
		return nil, &llmgateway.Error{
			Kind: llmgateway.NoModel, Param: "model",
			Message: "the model " + strconv.Quote(id) + " does not exist here; there are: " + strings.Join(l.names, ", "),
		}
	}
	return l.object(id, name), nil
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
	entries := make([]entry, 0, len(l.names))
	for _, name := range l.names {
		best := l.h.table.Models[name].Limits(name)
		entries = append(entries, entry{name, params{name}, info{
			ID: name, Mode: "chat", LiteLLMProvider: l.h.Models[name].Targets[0].Provider,
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
