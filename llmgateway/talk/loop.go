package talk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/terminal"
)

const help = `/image FILE   show the model a picture with the next question
/new          begin a new conversation
/exit         end, as Ctrl-D does
A line that ends in \ goes on in the next one. Ctrl-C stops an answer.
`

var errStopped = errors.New("stopped")

// Loop talks with somebody who types questions into in, until that ends or they say /exit. Notes go to notes, the
// terminal. An interrupt stops the answer that is coming; at the prompt, two in a row end the loop. The images are shown
// with the first question.
func (c *Chat) Loop(ctx context.Context, in io.Reader, notes io.Writer, interrupts <-chan os.Signal, images ...string) error {
	lines := make(chan string)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var broken error // of in; written before lines is closed
	go func() {
		defer close(lines)
		r := bufio.NewReader(in)
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				select {
				case lines <- line:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					broken = err
				}
				return
			}
		}
	}()

	for {
		question, ok := prompt(ctx, notes, lines, interrupts)
		if !ok {
			return broken
		}
		word, rest, _ := strings.Cut(question, " ")
		rest = strings.TrimSpace(rest)
		switch word {
		case "":
		case "/exit", "/quit", "/bye":
			return nil
		case "/help", "/?":
			fmt.Fprint(notes, help)
		case "/new", "/clear":
			c.Forget()
			images = nil
		case "/image":
			image, err := Image(rest)
			if err != nil {
				note(notes, err)
				continue
			}
			images = append(images, image)
		default:
			if strings.HasPrefix(word, "/") && !strings.Contains(word[1:], "/") {
				fmt.Fprintf(notes, "%s is unknown; /help says what there is\n", terminal.Line(word))
				continue
			}
			err := c.interruptible(ctx, interrupts, question, images)
			if err == nil || errors.Is(err, ErrCut) {
				images = nil
			}
			note(notes, err)
		}
	}
}

// note shows an error.
func note(w io.Writer, err error) {
	if err != nil {
		fmt.Fprintf(w, "(%s)\n", terminal.Text(err.Error()))
	}
}

// prompt returns the next question, or false at the end.
func prompt(ctx context.Context, notes io.Writer, lines <-chan string, interrupts <-chan os.Signal) (string, bool) {
	var question strings.Builder
	interrupted := false
	fmt.Fprint(notes, "> ")
	for {
		select {
		case <-ctx.Done():
			return "", false
		case <-interrupts:
			if interrupted {
				fmt.Fprintln(notes)
				return "", false
			}
			interrupted = true
			question.Reset()
			fmt.Fprint(notes, "\n(Ctrl-C again, Ctrl-D or /exit ends)\n> ")
		case line, ok := <-lines:
			if !ok {
				fmt.Fprintln(notes)
				return question.String(), question.Len() > 0
			}
			line = strings.TrimRight(line, "\r\n")
			more, goesOn := strings.CutSuffix(line, `\`)
			question.WriteString(more)
			if !goesOn {
				return strings.TrimSpace(question.String()), true
			}
			question.WriteByte('\n')
			fmt.Fprint(notes, ". ")
		}
	}
}

// interruptible asks, and stops the answer at an interrupt.
func (c *Chat) interruptible(ctx context.Context, interrupts <-chan os.Signal, question string, images []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-interrupts:
			cancel(errStopped)
		case <-done:
		}
	}()
	err := c.Ask(ctx, question, images...)
	close(done)
	<-watched
	return err
}
