package anthropic

import (
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// readPart returns what chat says for a block of the user's or of a tool's result.
func readPart(c *dialect.Chat, b block) ([]dialect.Part, error) {
	switch b.kind {
	case "text":
		if !b.text.IsString() {
			return nil, dialect.Invalid("messages", `a block "text" has no text`)
		}
		return []dialect.Part{dialect.Text(b.text)}, nil
	case "image":
		return readImage(c, b.source)
	case "document":
		return readDocument(c, b)
	case "search_result":
		return readSearchResult(b), nil
	}
	c.Cannot("messages", "it takes no block %q", short(b.kind))
	return nil, nil
}

// readImage returns an image. Its bytes are not looked at.
func readImage(c *dialect.Chat, source openai.Value) ([]dialect.Part, error) {
	m := source.Pick("type", "media_type", "data", "url")
	switch kind := m[0].Text(); {
	case kind == "base64" && m[1].IsString() && m[2].IsString():
		return []dialect.Part{dialect.Image(nil, []byte("data:"), m[1].Inner(), []byte(";base64,"), m[2].Inner())}, nil
	case kind == "url" && m[3].IsString():
		return []dialect.Part{dialect.Image(nil, m[3].Inner())}, nil
	case kind == "file":
		c.Cannot("messages", "it has no uploaded files; send the image as base64")
		return nil, nil
	}
	return nil, dialect.Invalid("messages", `the "source" of an image must be base64 with "media_type" and "data", or url with "url"`)
}

// readDocument returns a document: a text as text, and a PDF as a file.
func readDocument(c *dialect.Chat, b block) ([]dialect.Part, error) {
	m := b.source.Pick("type", "media_type", "data", "content")
	names := b.raw.Pick("title", "name", "context")
	title := names[0]
	if title == nil {
		title = names[1]
	}
	var head []dialect.Part
	for _, about := range []openai.Value{title, names[2]} {
		if len(about.Inner()) > 0 {
			head = append(head, dialect.Text(about))
		}
	}
	media := m[1].Text()
	switch kind := m[0].Text(); {
	case kind == "text" && m[2].IsString():
		return append(head, dialect.Text(m[2])), nil
	case kind == "content":
		if m[3].IsString() {
			return append(head, dialect.Text(m[3])), nil
		}
		for v := range m[3].Elements() {
			parts, err := readPart(c, readBlock(v))
			if err != nil {
				return nil, err
			}
			head = append(head, parts...)
		}
		return head, nil
	case kind == "base64" && dialect.IsText(media):
		text, ok := dialect.DecodeText(m[2].Inner())
		if !ok {
			return nil, dialect.Invalid("messages", `the "data" of a document is not base64`)
		}
		return append(head, dialect.Plain(text)), nil
	case kind == "base64" && m[1].IsString() && m[2].IsString():
		file := dialect.File(title, []byte("data:"), m[1].Inner(), []byte(";base64,"), m[2].Inner())
		return append(head[min(1, len(head)):], file), nil
	case kind == "url", kind == "file":
		c.Cannot("messages", "it fetches no documents; send the document as base64")
		return nil, nil
	}
	return nil, dialect.Invalid("messages", `the "source" of a document must be text, content, base64, url or file`)
}

// readSearchResult returns a search result that the client has found, with where it is from.
func readSearchResult(b block) (parts []dialect.Part) {
	for _, about := range b.raw.Pick("title", "source") {
		if about.IsString() {
			parts = append(parts, dialect.Text(about))
		}
	}
	for v := range b.content.Elements() {
		if text := v.Get("text"); text.IsString() {
			parts = append(parts, dialect.Text(text))
		}
	}
	return parts
}
