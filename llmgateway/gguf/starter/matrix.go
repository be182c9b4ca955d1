package starter

import "github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"

// matrix is a weight matrix of mostly zeros: out = matrix * in.
type matrix struct {
	in, out int
	weights []float32
}

func newMatrix(in, out int) matrix {
	return matrix{in: in, out: out, weights: make([]float32, in*out)}
}

// add adds weight to what dimension in contributes to dimension out.
func (m matrix) add(out, in int, weight float32) {
	m.weights[out*m.in+in] += weight
}

func (m matrix) write(w *gguf.Writer, name string) error {
	data, err := gguf.Half(m.weights)
	if err != nil {
		return err
	}
	w.Add(name, gguf.F16, []uint64{uint64(m.in), uint64(m.out)}, data)
	return nil
}
