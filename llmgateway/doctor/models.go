package doctor

import (
	"fmt"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/inspect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/terminal"
)

// Models looks at the files of the local models, and whether they fit into memory. maxBytes is what they may take together,
// machineBytes what there is; 0 means that it is not known.
func Models(models []inspect.Entry, maxBytes, machineBytes uint64) []Finding {
	var findings []Finding
	var sum uint64
	usable := 0
	for _, m := range models {
		f := Finding{Area: "model", Subject: m.Provider + "/" + m.Name, Verdict: OK}
		switch {
		case m.Problem == "missing":
			f.Verdict, f.Detail = Failure, "its file is missing: "+m.Path
			f.Advice = "put the file there or correct the path; caddy llm pull gets models"
		case m.Problem == inspect.Unreadable:
			f.Verdict, f.Detail = Failure, m.Path+": "+m.Problem
			f.Advice = "let the user that the gateway runs as read it, and enter the folders above it (chmod, chown)"
		case m.Problem != "":
			f.Verdict, f.Detail = Failure, m.Path+": "+m.Problem
			f.Advice = "get the file again (caddy llm pull), or remove it"
		case m.Memory != nil && maxBytes > 0 && m.Memory.Total > maxBytes:
			f.Verdict = Failure
			f.Detail = fmt.Sprintf("it needs about %s, and local models may take %s", terminal.Bytes(m.Memory.Total), terminal.Bytes(maxBytes))
			f.Advice = "lower n_ctx or n_parallel, take a smaller quantization, or raise max_memory if the machine has more"
		default:
			f.Detail = m.Architecture
			if m.Quantization != "" {
				f.Detail += ", " + m.Quantization
			}
			if m.Memory != nil {
				f.Detail += ", takes about " + terminal.Bytes(m.Memory.Total)
				sum += m.Memory.Total
			}
			if m.Vision {
				f.Detail += ", sees images"
			}
			usable++
		}
		findings = append(findings, f)
	}
	return append(findings, memory(sum, usable, maxBytes, machineBytes)...)
}

// memory compares what the usable models take together with what there is.
func memory(sum uint64, usable int, maxBytes, machineBytes uint64) []Finding {
	if usable == 0 || maxBytes == 0 {
		return nil
	}
	f := Finding{
		Area: "memory", Verdict: OK,
		Detail: fmt.Sprintf("all local models together take about %s of %s", terminal.Bytes(sum), terminal.Bytes(maxBytes)),
	}
	switch {
	case machineBytes > 0 && maxBytes > machineBytes:
		f.Verdict = Warning
		f.Detail = fmt.Sprintf("max_memory is %s, and the machine has %s", terminal.Bytes(maxBytes), terminal.Bytes(machineBytes))
		f.Advice = "lower max_memory, or leave it out: the machine may have to swap or to kill"
	case sum > maxBytes:
		f.Verdict = Warning
		f.Detail = fmt.Sprintf("all local models together would take about %s of %s", terminal.Bytes(sum), terminal.Bytes(maxBytes))
		f.Advice = "they take turns, which costs a load each time; use fewer or smaller models if that is too slow"
	}
	return []Finding{f}
}
