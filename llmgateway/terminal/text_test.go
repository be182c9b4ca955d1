package terminal

import (
	"testing"
	"time"
)

func TestTextsOfOthersCannotCommandTheTerminal(t *testing.T) {
	tests := []struct{ name, in, line, text string }{
		{"plain", "Qwen2.5 7B, größer 模型 👩‍💻", "Qwen2.5 7B, größer 模型 👩‍💻", "Qwen2.5 7B, größer 模型 👩‍💻"},
		{"title", "\x1b]0;owned\x07", `\x1b]0;owned\x07`, `\x1b]0;owned\x07`},
		{"lines", "a\tb\r\nc", `a\x09b\x0d\x0ac`, "a\tb\\x0d\nc"},
		{"C1", "\u009b31m", `\u009b31m`, `\u009b31m`},
		{"raw C1", "\x9b31m", `\x9b31m`, `\x9b31m`},
		{"order", "evil\u202egpj.exe", `evil\u202egpj.exe`, `evil\u202egpj.exe`},
		{"deleted", "a\x7f", `a\u007f`, `a\u007f`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Line(tt.in); got != tt.line {
				t.Errorf("Line: got %q, want %q", got, tt.line)
			}
			if got := Text(tt.in); got != tt.text {
				t.Errorf("Text: got %q, want %q", got, tt.text)
			}
		})
	}
}

func TestNumbersAreShort(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "0.98 KiB", 1024: "1.00 KiB", 2153318: "2.05 MiB", 4683073952: "4.36 GiB", 1 << 40: "1.00 TiB",
		1<<64 - 1: "16.0 EiB", 1023 << 20: "1.00 GiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d): got %s, want %s", n, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 17: "17", 1000: "1.00 K", 7615616512: "7.62 B", 494032768: "494 M", 12_300_000: "12.3 M"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d): got %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m 01s", 3*time.Hour + 4*time.Minute: "3h 04m", 200 * time.Hour: "8 days",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v): got %s, want %s", d, got, want)
		}
	}
}
