package responses

import (
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect/dialecttest"
)

// request is what the answers are to.
const request = `{"model":"m","input":"x","tools":[{"type":"custom","name":"patch"}]}`

func TestRequestsBecomeChats(t *testing.T) { dialecttest.Requests(t, Read) }

func TestAnswersBecomeResponses(t *testing.T) {
	dialecttest.Answers(t, Read, Write, request)
}

func FuzzRead(f *testing.F) { dialecttest.FuzzRead(f, Read) }

func FuzzWrite(f *testing.F) { dialecttest.FuzzAnswer(f, Read, Write, request) }
