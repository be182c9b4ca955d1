package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestClientClassesAnswersByTheirStatus(t *testing.T) {
	for status, want := range map[int]llmgateway.Kind{
		201: llmgateway.Upstream, 204: llmgateway.Upstream,
		301: llmgateway.Upstream, 302: llmgateway.Upstream, 307: llmgateway.Upstream, 308: llmgateway.Upstream,
		400: llmgateway.InvalidRequest, 415: llmgateway.InvalidRequest, 422: llmgateway.InvalidRequest,
		401: llmgateway.Denied, 402: llmgateway.Denied, 403: llmgateway.Denied,
		404: llmgateway.Upstream, 405: llmgateway.Upstream, 409: llmgateway.Upstream, 451: llmgateway.Upstream,
		408: llmgateway.Timeout, 504: llmgateway.Timeout,
		429: llmgateway.RateLimited,
		500: llmgateway.Upstream, 502: llmgateway.Upstream, 520: llmgateway.Upstream,
		413: llmgateway.Unsupported, 501: llmgateway.Unsupported,
		503: llmgateway.Overloaded, 529: llmgateway.Overloaded,
	} {
		for _, body := range []string{
			``, `nonsense`, `{"error":{"message":"no","type":"t","code":null}}`, `{"error":"no"}`, `{"error":null}`, `[]`,
			"<!DOCTYPE html>\n<html><head><title>Bad Gateway</title></head></html>",
		} {
			e := answeredWith(t, status, nil, body)
			if e.Kind != want || e.Status != status {
				t.Errorf("%d %q: got %s, %d; want %s", status, body, e.Kind, e.Status, want)
			}
			if e.Message == "" || strings.Contains(e.Message, "html") || !json.Valid(ErrorBody(e)) {
				t.Errorf("%d %q: the client is told %q", status, body, e.Message)
			}
		}
	}
}

// TestClientKnowsErrorsByWhatServicesSay has error objects of services, with the sentences that people report.
func TestClientKnowsErrorsByWhatServicesSay(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   llmgateway.Kind
	}{
		{"llama-server, context", 400, `{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}`, llmgateway.ContextLength},
		{"llama-server, older", 400, `{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"invalid_request_error"}}`, llmgateway.ContextLength},
		{"llama-server, in the middle", 500, `{"error":{"code":500,"message":"Context size has been exceeded.","type":"server_error"}}`, llmgateway.ContextLength},
		{"OpenAI, context", 400, `{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, llmgateway.ContextLength},
		{"OpenAI, context window", 400, `{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error","param":"input","code":null}}`, llmgateway.ContextLength},
		{"OpenRouter, context", 400, `{"error":{"message":"This endpoint's maximum context length is 32768 tokens. However, you requested about 40000 tokens.","code":400,"metadata":{"provider_name":"P"}}}`, llmgateway.ContextLength},
		{"vLLM before its errors were OpenAI's", 400, `{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the messages.","type":"BadRequestError","param":null,"code":400}`, llmgateway.ContextLength},
		{"vLLM", 400, `{"error":{"message":"You passed 5001 input tokens and requested 100 output tokens. However, the model's context length is only 4096 tokens.","type":"BadRequestError","param":"input_tokens","code":400}}`, llmgateway.ContextLength},
		{"vLLM, decoder prompt", 400, `{"error":{"message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096.","type":"BadRequestError","code":400}}`, llmgateway.ContextLength},
		{"SGLang", 400, `{"object":"error","message":"The input (5000 tokens) is longer than the model's context length (4096 tokens).","type":"BadRequestError","param":null,"code":400}`, llmgateway.ContextLength},
		{"Hugging Face's TGI, both", 422, "{\"error\":\"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 100 `max_new_tokens`\",\"error_type\":\"validation\"}", llmgateway.ContextLength},
		{"Hugging Face's TGI, inputs", 422, "{\"error\":\"Input validation error: `inputs` must have less than 4095 tokens. Given: 5000\",\"error_type\":\"validation\"}", llmgateway.ContextLength},
		{"Anthropic", 400, `{"error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}`, llmgateway.ContextLength},
		{"Gemini", 400, `[{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}]`, llmgateway.ContextLength},
		{"Bedrock", 400, `{"message":"Input is too long for requested model."}`, llmgateway.ContextLength},
		{"xAI", 400, `{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 171072 tokens."}`, llmgateway.ContextLength},
		{"Gemini, key", 400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]`, llmgateway.Denied},
		{"too large with a reason", 413, `{"error":{"message":"Input is longer than the maximum context length of 8192","code":413}}`, llmgateway.ContextLength},
		{"OpenAI, content", 400, `{"error":{"message":"Your request was rejected as a result of our safety system.","type":"invalid_request_error","param":null,"code":"content_policy_violation"}}`, llmgateway.ContentFilter},
		{"Azure, content", 400, `{"error":{"message":"The response was filtered due to the prompt triggering the content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, llmgateway.ContentFilter},
		{"OpenRouter, moderation", 403, `{"error":{"message":"Your input was flagged","code":403,"metadata":{"reasons":["violence"],"flagged_input":"...","provider_name":"P","model_slug":"m"}}}`, llmgateway.ContentFilter},
		{"OpenAI, no credit", 429, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, llmgateway.Denied},
		{"OpenAI, rate", 429, `{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}`, llmgateway.RateLimited},
		{"Groq, too many tokens in a minute", 413, `{"error":{"message":"Request too large for model","type":"tokens","code":"rate_limit_exceeded"}}`, llmgateway.RateLimited},
		{"an invalid parameter", 400, `{"error":{"message":"Invalid value for 'temperature'","type":"invalid_request_error","param":"temperature","code":"invalid_value"}}`, llmgateway.InvalidRequest},
		{"words inside a denial", 401, `{"error":{"message":"context length","code":"context_length_exceeded"}}`, llmgateway.Denied},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if e := answeredWith(t, test.status, nil, test.body); e.Kind != test.want {
				t.Errorf("got %s, want %s", e.Kind, test.want)
			}
		})
	}
}

func TestClientPassesOnWhatIsWrongWithARequest(t *testing.T) {
	e := answeredWith(t, 422, nil, `{"error":{"message":"temperature must be at most 2","type":"BadRequestError","param":"temperature","code":"invalid_value"}}`)
	if Status(e) != 422 || e.Message != "temperature must be at most 2" || e.Param != "temperature" || e.Code != "invalid_value" {
		t.Errorf("got %d, %+v", Status(e), e)
	}
	if e := answeredWith(t, 413, nil, "<html>Request Entity Too Large</html>"); Status(e) != 413 || e.Code != "request_too_large" {
		t.Errorf("got %d, %+v", Status(e), e)
	}
	// What else goes wrong between the gateway and a provider is not the client's business.
	for _, status := range []int{401, 429, 500, 503} {
		e := answeredWith(t, status, nil, `{"error":{"message":"internal address 10.0.0.7"}}`)
		if strings.Contains(string(ErrorBody(e)), "10.0.0.7") {
			t.Errorf("%d: the client is told %s", status, ErrorBody(e))
		}
	}
}

func TestClientReadsHowLongToWait(t *testing.T) {
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	tests := []struct {
		header http.Header
		atMost time.Duration
	}{
		{http.Header{"Retry-After": {"7"}}, 7 * time.Second},
		{http.Header{"Retry-After": {"0.5"}}, 500 * time.Millisecond},
		{http.Header{"Retry-After-Ms": {"1500"}}, 1500 * time.Millisecond},
		{http.Header{"Retry-After-Ms": {"250"}, "Retry-After": {"9"}}, 250 * time.Millisecond},
		{http.Header{"Retry-After-Ms": {"soon"}, "Retry-After": {"9"}}, 9 * time.Second},
		{http.Header{"Retry-After": {in(30 * time.Second)}}, 30 * time.Second},
		{http.Header{"Retry-After": {in(-time.Hour)}}, 0},
		{http.Header{"Retry-After": {"0"}}, 0},
		{http.Header{"Retry-After": {"-3"}}, 0},
		{http.Header{"Retry-After": {"NaN"}}, 0},
		{http.Header{"Retry-After": {"Inf"}}, 0},
		{http.Header{"Retry-After": {"1e300"}}, 24 * time.Hour},
		{http.Header{"Retry-After": {"99999999"}}, 24 * time.Hour},
		{http.Header{"Retry-After-Ms": {"99999999999"}}, 24 * time.Hour},
		{http.Header{"Retry-After": {in(10 * 365 * 24 * time.Hour)}}, 24 * time.Hour},
		{http.Header{"Retry-After": {"in a minute"}}, 0},
		{http.Header{}, 0},
	}
	for _, test := range tests {
		for _, status := range []int{429, 503} {
			got := answeredWith(t, status, test.header, "").RetryAfter
			if got > test.atMost || got < test.atMost-2*time.Second || test.atMost > 0 && got == 0 {
				t.Errorf("%v: got %v, want %v", test.header, got, test.atMost)
			}
		}
	}
}

// TestClientTellsNobodyItsKey has providers that say the key back, in every place they can.
func TestClientTellsNobodyItsKey(t *testing.T) {
	const key = "sk-Sekret/With+Slash=0123456789"
	const other = "other-sekret-in-a-header"
	escaped := strings.ReplaceAll(key, "/", `\/`)
	text := `You said Bearer ` + key + ` and ` + other
	object := `{"error":{"message":"` + text + `","type":"` + key + `","param":"` + key + `","code":"` + key + `"}}`
	object2 := strings.ReplaceAll(object, key, escaped)
	padded := `{"error":{"message":"` + strings.Repeat("x", 290) + key + `"}}`
	answers := map[string]*http.Response{}
	for _, status := range []int{200, 302, 400, 401, 403, 413, 422, 429, 500, 503} {
		for i, body := range []string{text, object, object2, padded, `{"error":"` + text + `"}`, `data: ` + object + "\n\n", "error: " + object2 + "\n\n", `{"choices":` + object} {
			for _, contentType := range []string{"application/json", "text/event-stream", "text/plain", key} {
				answers[fmt.Sprint(status, i, contentType)] = response(status, http.Header{"Content-Type": {contentType}, "Location": {"https://elsewhere/" + key}}, body)
			}
		}
	}
	for _, stream := range []bool{false, true} {
		for name, answer := range answers {
			text, _ := io.ReadAll(answer.Body)
			answer.Body = io.NopCloser(strings.NewReader(string(text)))
			c, err := NewClient("https://api.example.com/v1", key, http.Header{"X-Other": {other}}, roundTripFunc(func(*http.Request) (*http.Response, error) { return answer, nil }))
			if err != nil {
				t.Fatal(err)
			}
			checkNoKey(t, name, generateError(t, c, stream), key, escaped, other)
			answer.Body = io.NopCloser(strings.NewReader(string(text)))
		}
	}
	// A transport's error may quote what the server sent.
	c, err := NewClient("https://api.example.com/v1", key, nil, roundTripFunc(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("malformed MIME header: %q", r.Header.Get("Authorization"))
	}))
	if err != nil {
		t.Fatal(err)
	}
	checkNoKey(t, "transport", generateError(t, c, false), key)
}

func checkNoKey(t *testing.T, name string, err error, keys ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: got no error", name)
	}
	e := llmgateway.AsError(err)
	for _, place := range []string{err.Error(), fmt.Sprintf("%+v", err), e.Message, e.Param, e.Code, string(ErrorBody(e)), fmt.Sprint(e.Err)} {
		for _, key := range keys {
			if strings.Contains(place, key) {
				t.Errorf("%s: %q holds the key", name, place)
			}
		}
	}
}

func TestClientTellsNobodyAShortKey(t *testing.T) {
	c, err := NewClient("https://api.example.com/v1", "s3cr3t", nil, roundTripFunc(func(*http.Request) (*http.Response, error) {
		return response(400, nil, `{"error":{"message":"the key s3cr3t is not known"}}`), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	checkNoKey(t, "short key", generateError(t, c, false), "s3cr3t")
}

func TestErrorBodyIsOpenAIs(t *testing.T) {
	for kind, want := range map[llmgateway.Kind]struct {
		status int
		body   string
	}{
		llmgateway.InvalidRequest: {400, `{"error":{"message":"m","type":"invalid_request_error","param":"p","code":null}}`},
		llmgateway.ContextLength:  {400, `{"error":{"message":"m","type":"invalid_request_error","param":"p","code":"context_length_exceeded"}}`},
		llmgateway.Unsupported:    {400, `{"error":{"message":"m","type":"invalid_request_error","param":"p","code":"unsupported_content"}}`},
		llmgateway.ContentFilter:  {400, `{"error":{"message":"m","type":"invalid_request_error","param":"p","code":"content_filter"}}`},
		llmgateway.NoModel:        {404, `{"error":{"message":"m","type":"invalid_request_error","param":"p","code":"model_not_found"}}`},
		llmgateway.Denied:         {502, `{"error":{"message":"m","type":"api_error","param":"p","code":"provider_denied"}}`},
		llmgateway.RateLimited:    {429, `{"error":{"message":"m","type":"rate_limit_error","param":"p","code":"rate_limit_exceeded"}}`},
		llmgateway.Overloaded:     {503, `{"error":{"message":"m","type":"server_error","param":"p","code":"overloaded"}}`},
		llmgateway.Timeout:        {504, `{"error":{"message":"m","type":"server_error","param":"p","code":"timeout"}}`},
		llmgateway.Upstream:       {502, `{"error":{"message":"m","type":"server_error","param":"p","code":"provider_error"}}`},
		llmgateway.Canceled:       {499, `{"error":{"message":"m","type":"server_error","param":"p","code":"canceled"}}`},
	} {
		e := &llmgateway.Error{Kind: kind, Message: "m", Param: "p", Err: errors.New("the cause stays inside")}
		if got := string(ErrorBody(e)); got != want.body || Status(e) != want.status {
			t.Errorf("%s: got %d %s, want %d %s", kind, Status(e), got, want.status, want.body)
		}
	}
	if got, want := string(ErrorBody(&llmgateway.Error{Kind: llmgateway.InvalidRequest, Message: "m", Code: "c"})), `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"c"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWriteErrorSaysHowLongToWait(t *testing.T) {
	for after, want := range map[time.Duration]string{0: "", time.Millisecond: "1", 1500 * time.Millisecond: "2", 3 * time.Second: "3"} {
		w := httptest.NewRecorder()
		WriteError(w, &llmgateway.Error{Kind: llmgateway.RateLimited, RetryAfter: after})
		if got := w.Header().Get("Retry-After"); got != want || w.Code != 429 {
			t.Errorf("%v: got %q, %d; want %q", after, got, w.Code, want)
		}
	}
}

// answeredWith returns the error for an answer.
func answeredWith(t *testing.T, status int, header http.Header, body string) *llmgateway.Error {
	t.Helper()
	c, err := NewClient("https://api.example.com/v1", "sk-0123456789", nil, roundTripFunc(func(*http.Request) (*http.Response, error) {
		return response(status, header, body), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	err = generateError(t, c, false)
	if err == nil {
		t.Fatalf("%d: got no error", status)
	}
	return llmgateway.AsError(err)
}

func response(status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{"Content-Type": {"application/json"}}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
}

// generateError asks for an answer and returns the error.
func generateError(t *testing.T, c *Client, stream bool) (failed error) {
	t.Helper()
	r := read(t, `{"model":"m"}`)
	r.Stream = stream
	for _, err := range c.Generate(t.Context(), r) {
		failed = err
	}
	return failed
}
