package caddymodule

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// getJSON asks the gateway's site for something.
func (g *gateway) getJSON(path string, into any) error {
	req := g.request(g.t.Context(), "")
	req.Method, req.Body, req.ContentLength = http.MethodGet, nil, 0
	req.URL.Path = path
	resp, err := g.client("HTTP/2.0").Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		g.t.Errorf("%s: %s: %s", path, resp.Status, text)
	}
	return json.Unmarshal(text, into)
}

const bytebotSite = `
	llm_bytebot_models /api/tasks/models
	llm {
		provider echo echo
		provider down openai http://127.0.0.1:1/v1 {
			api_key none
		}
		model small other {
			to echo {
				context 16384
				capabilities tools
			}
		}
		model unknown {
			to down/x
		}
		client bytebot
	}`

// The agent takes what it reads here for granted: a list of objects with names that are different and that chat takes.
func TestBytebotLearnsModels(t *testing.T) {
	g := newGateway(t)
	g.start(bytebotSite)
	var info struct {
		Data []struct {
			ModelName string `json:"model_name"`
			Params    struct {
				Model string `json:"model"`
			} `json:"litellm_params"`
			Info struct {
				Input  int   `json:"max_input_tokens"`
				Vision *bool `json:"supports_vision"`
				Tools  *bool `json:"supports_function_calling"`
			} `json:"model_info"`
		} `json:"data"`
	}
	for _, path := range []string{"/model/info", "/v1/model/info", "/v1//model/info"} {
		if err := g.getJSON(path, &info); err != nil {
			t.Fatal(err)
		}
		if len(info.Data) != 2 || info.Data[0].Params.Model != "small" || info.Data[1].Params.Model != "unknown" || info.Data[0].ModelName != "small" {
			t.Fatalf("%s: got %+v", path, info)
		}
		if i := info.Data[0].Info; i.Input != 16384 || i.Vision == nil || *i.Vision || i.Tools == nil || !*i.Tools {
			t.Errorf("%s: got %+v", path, i)
		}
	}
	var models []bytebotModel
	if err := g.getJSON("/api/tasks/models", &models); err != nil {
		t.Fatal(err)
	}
	want := []bytebotModel{{"proxy", "small", "small", 16384}, {"proxy", "unknown", "unknown", 128000}}
	if len(models) != 2 || models[0] != want[0] || models[1] != want[1] {
		t.Errorf("got %+v, want %+v", models, want)
	}
}

// A window is told either by the list of models or by the usage, never by both.
func TestBytebotIsToldTheWindowOnce(t *testing.T) {
	for _, test := range []struct {
		name, site string
		total      int
	}{
		{"by the list", bytebotSite, 2},
		{"by the usage", strings.Replace(bytebotSite, "llm_bytebot_models /api/tasks/models", "", 1), 16},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.start("log_append total {http.llm.usage.total_tokens}" + test.site)
			resp, err := g.client("HTTP/2.0").Do(g.request(t.Context(), `{"model":"small","messages":[{"role":"user","content":"Hi"}],"max_tokens":8192,"reasoning_effort":"high",`+
				`"tools":[{"type":"function","function":{"name":"set_task_status","parameters":{"type":"object","properties":{}}}}]}`))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var answer struct {
				Usage struct {
					Total int `json:"total_tokens"`
				}
			}
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				t.Fatal(err)
			}
			if answer.Usage.Total != test.total {
				t.Errorf("the agent is told %d, want %d", answer.Usage.Total, test.total)
			}
			await(t, "an entry in the log", func() bool { return g.handled() == 1 })
			if total := g.logged("handled request")[0]["total"]; total != 2.0 {
				t.Errorf("the log says %v, want 2", total)
			}
		})
	}
}
