package random

import "github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"

// Kinds of tokens, in llama.cpp's numbering.
const (
	normal     int32 = 1
	unknown    int32 = 2
	control    int32 = 3
	singleByte int32 = 6
)

// chatTemplate is ChatML.
const chatTemplate = `{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}`

const (
	endOfText = "<|endoftext|>"
	imStart   = "<|im_start|>"
	imEnd     = "<|im_end|>"
)

// pairs describes a vocabulary of byte pairs, as GPT-2 and Qwen have: all bytes, then words that are made of two shorter
// ones each, which is what a merge says.
func pairs(w *gguf.Writer, size int) {
	texts := make([]string, 0, size)
	var merges []string
	for b := range 256 {
		texts = append(texts, string(byteLetter(b)))
	}
	words := size - len(texts) - 3
	add := func(a, b string) bool {
		if words <= 0 {
			return false
		}
		words--
		texts = append(texts, a+b)
		merges = append(merges, a+" "+b)
		return true
	}
	letters := make([]string, 0, 27)
	letters = append(letters, string(byteLetter(' ')))
	for l := 'a'; l <= 'z'; l++ {
		letters = append(letters, string(l))
	}
	for shorter := letters; words > 0; {
		var longer []string
		for _, a := range shorter {
			for _, b := range letters[1:] {
				if !add(a, b) {
					break
				}
				longer = append(longer, a+b)
			}
		}
		shorter = longer
	}
	kinds := make([]int32, len(texts), size)
	for i := range kinds {
		kinds[i] = normal
	}
	end := len(texts)
	texts = append(texts, endOfText, imStart, imEnd)
	kinds = append(kinds, control, control, control)

	w.Set("tokenizer.ggml.model", "gpt2")
	w.Set("tokenizer.ggml.pre", "qwen2")
	w.Set("tokenizer.ggml.tokens", texts)
	w.Set("tokenizer.ggml.token_type", kinds)
	w.Set("tokenizer.ggml.merges", merges)
	w.Set("tokenizer.ggml.bos_token_id", uint32(end))
	w.Set("tokenizer.ggml.eos_token_id", uint32(end+2))
	w.Set("tokenizer.ggml.add_bos_token", false)
	w.Set("tokenizer.chat_template", chatTemplate)
}

// byteLetter returns the letter that stands for a byte: itself if it can be seen, else one above 255.
func byteLetter(b int) rune {
	seen := func(b int) bool { return b > ' ' && b < 0x7f || b > 0xa0 && b != 0xad }
	if seen(b) {
		return rune(b)
	}
	hidden := rune(256)
	for other := range b {
		if !seen(other) {
			hidden++
		}
	}
	return hidden
}

// pieces describes a vocabulary as SentencePiece makes them, which Llama, Gemma and Phi have: words with a score.
func pieces(w *gguf.Writer, size int) {
	// Where it sees phi3, llama.cpp asks for <s>, </s> and the end of text.
	texts := []string{"<unk>", "<s>", "</s>", imEnd, imStart, endOfText}
	kinds := []int32{unknown, control, control, control, control, control}
	for b := range 256 {
		texts = append(texts, hexByte(b))
		kinds = append(kinds, singleByte)
	}
	letters := []string{"\u2581"} // a space
	for l := 'a'; l <= 'z'; l++ {
		letters = append(letters, string(l))
	}
	for shorter := []string{""}; len(texts) < size; {
		var longer []string
		for _, a := range shorter {
			for i, b := range letters {
				if a != "" && i == 0 || len(texts) == size {
					continue
				}
				texts = append(texts, a+b)
				kinds = append(kinds, normal)
				longer = append(longer, a+b)
			}
		}
		shorter = longer
	}
	scores := make([]float32, len(texts))
	for i := range scores {
		scores[i] = -float32(i)
	}
	w.Set("tokenizer.ggml.model", "llama")
	w.Set("tokenizer.ggml.tokens", texts)
	w.Set("tokenizer.ggml.scores", scores)
	w.Set("tokenizer.ggml.token_type", kinds)
	w.Set("tokenizer.ggml.bos_token_id", uint32(1))
	w.Set("tokenizer.ggml.eos_token_id", uint32(3))
	w.Set("tokenizer.ggml.unknown_token_id", uint32(0))
	w.Set("tokenizer.ggml.add_bos_token", false)
	w.Set("tokenizer.ggml.add_space_prefix", false)
	w.Set("tokenizer.chat_template", chatTemplate)
}

func hexByte(b int) string {
	const digits = "0123456789ABCDEF"
	return "<0x" + string(digits[b>>4]) + string(digits[b&15]) + ">"
}
