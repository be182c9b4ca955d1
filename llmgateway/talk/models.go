package talk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// preferred is the model that is asked for where a gateway has one of that name, as in the gateway's own Caddyfile.
const preferred = "auto"

// DefaultModel asks a gateway at a base URL which models it has, and returns the one to talk to if nobody names one.
func DefaultModel(ctx context.Context, transport http.RoundTripper, baseURL, key string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(baseURL, "/")+"/models", http.NoBody)
	if err != nil {
		return "", err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("no gateway can be reached at %s; `make run` starts one (%w)", req.URL.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return "", fmt.Errorf("asking for models: %w", err)
	}
	var answer struct {
		Data  []struct{ ID string }
		Error struct{ Message string }
	}
	err = json.Unmarshal(body, &answer)
	switch {
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return "", fmt.Errorf("the gateway refuses the key (HTTP %d)", resp.StatusCode)
	case resp.StatusCode != http.StatusOK && answer.Error.Message != "":
		return "", errors.New(answer.Error.Message)
	case resp.StatusCode != http.StatusOK || err != nil:
		return "", fmt.Errorf("asking for models: HTTP %d, and no list of models; does the URL end in /v1?", resp.StatusCode)
	}
	var first string
	for _, model := range slices.Backward(answer.Data) {
		if model.ID == preferred {
			return preferred, nil
		}
		first = model.ID
	}
	if first == "" {
		return "", errors.New("the gateway has no model")
	}
	return first, nil
}
