package anthropic

import (
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// BenchmarkRead reads a conversation with thirty screenshots of a megabyte.
func BenchmarkRead(b *testing.B) {
	image := `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + strings.Repeat("iVBORw0KGgo/", 1<<20/12) + `"}}`
	var body strings.Builder
	body.WriteString(`{"model":"m","max_tokens":16384,"messages":[{"role":"user","content":"Go."}`)
	for range 30 {
		body.WriteString(`,{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"computer_screenshot","input":{}}]},` +
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":[` + image + `]}]}`)
	}
	body.WriteString(`]}`)
	client := llmgateway.NewBody([]byte(body.String()))
	b.SetBytes(int64(len(client.Bytes)))
	b.ReportAllocs()
	for b.Loop() {
		client.Retain()
		req, err := Read(client)
		if err != nil {
			b.Fatal(err)
		}
		req.Body.Release()
		client.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(client.Bytes))*(1<<20), "µs/MB")
}
