package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/inspect"
)

// expect compares findings with what they must say, in order.
func expect(t *testing.T, got []Finding, want ...Finding) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d findings: %+v", len(got), got)
	}
	for i, f := range got {
		if f.Verdict != want[i].Verdict || !strings.Contains(f.Detail, want[i].Detail) {
			t.Errorf("got %+v, want %s: %s", f, want[i].Verdict, want[i].Detail)
		}
		if f.Verdict != OK && f.Advice == "" {
			t.Errorf("no advice for %s", f.Detail)
		}
	}
}

func TestReportIsSickOnlyFromFailures(t *testing.T) {
	r := NewReport([]Finding{{Area: "a", Verdict: OK}, {Area: "b", Verdict: Warning, Detail: "x\x1b[2J"}, {Area: "a", Verdict: OK, Subject: "second"}})
	if !r.Healthy || r.Findings[1].Subject != "second" || r.Count(OK) != 2 {
		t.Errorf("got %+v", r)
	}
	var text strings.Builder
	if err := r.Write(&text); err != nil || strings.Contains(text.String(), "\x1b") || !strings.Contains(text.String(), "2 ok, 1 warnings, 0 failures") {
		t.Errorf("got %v, %q", err, text.String())
	}
	if NewReport([]Finding{{Verdict: Failure}}).Healthy {
		t.Error("a failure is healthy")
	}
}

func TestModelsMustBeThereAndFit(t *testing.T) {
	model := func(name string, total uint64, problem string) inspect.Entry {
		m := &inspect.Model{Name: name, Path: name + ".gguf", Architecture: "llama", Problem: problem}
		if problem == "" {
			m.Memory = &inspect.Memory{Total: total}
		}
		return inspect.Entry{Model: m, Provider: "local"}
	}
	const gib = 1 << 30
	expect(t, Models([]inspect.Entry{model("a", gib, ""), model("b", 5*gib, ""), model("gone", 0, "missing"), model("cut", 0, "it ends early")}, 4*gib, 8*gib),
		Finding{Verdict: OK, Detail: "llama"}, Finding{Verdict: Failure, Detail: "5.00 GiB"}, Finding{Verdict: Failure, Detail: "missing"},
		Finding{Verdict: Failure, Detail: "ends early"}, Finding{Verdict: OK, Detail: "1.00 GiB of 4.00 GiB"})
	expect(t, Models([]inspect.Entry{model("a", 3*gib, ""), model("b", 3*gib, "")}, 4*gib, 8*gib),
		Finding{Verdict: OK}, Finding{Verdict: OK}, Finding{Verdict: Warning, Detail: "6.00 GiB of 4.00 GiB"})
	expect(t, Models([]inspect.Entry{model("a", gib, "")}, 16*gib, 8*gib), Finding{Verdict: OK}, Finding{Verdict: Warning, Detail: "the machine has 8.00 GiB"})
	if got := Models([]inspect.Entry{model("shut", 0, inspect.Unreadable)}, gib, gib); !strings.Contains(got[0].Advice, "chmod") {
		t.Errorf("got %+v", got)
	}
	if got := Models(nil, gib, gib); len(got) != 0 {
		t.Errorf("without models: %+v", got)
	}
}

func TestPortsAreTried(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addresses := []string{taken.Addr().String(), "127.0.0.1:0", "192.0.2.1:0"}
	expect(t, Ports(t.Context(), addresses, false),
		Finding{Verdict: Failure, Detail: "another program"}, Finding{Verdict: OK, Detail: "free"}, Finding{Verdict: Failure, Detail: "does not have that address"})
	expect(t, Ports(t.Context(), addresses[:1], true), Finding{Verdict: OK, Detail: "a gateway is running"})
}

func TestFoldersAreWrittenTo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, Folders([]Folder{{"good", dir}, {"to be made", filepath.Join(dir, "a", "b")}, {"a file", file}, {"below a file", filepath.Join(file, "x")}, {"the kernel's", "/proc"}}),
		Finding{Verdict: OK}, Finding{Verdict: OK}, Finding{Verdict: Failure, Detail: "no folder"}, Finding{Verdict: Failure}, Finding{Verdict: Failure})
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}

// certify writes a certificate and its key, and returns their paths.
func certify(t *testing.T, dir, name string, from, to time.Time) Pair {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	p := Pair{filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")}
	err = errors.Join(os.MkdirAll(dir, 0o700),
		os.WriteFile(p.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(p.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCertificatesHaveTheirTime(t *testing.T) {
	dir, now, day := t.TempDir(), time.Now(), 24*time.Hour
	good := certify(t, dir, "good", now.Add(-day), now.Add(90*day))
	soon := certify(t, dir, "soon", now.Add(-day), now.Add(3*day))
	old := certify(t, dir, "old", now.Add(-2*day), now.Add(-day))
	early := certify(t, dir, "early", now.Add(day), now.Add(90*day))
	expect(t, Pairs([]Pair{good, soon, old, early, {good.Certificate, soon.Key}, {"/none.crt", "/none.key"}}, now),
		Finding{Verdict: OK}, Finding{Verdict: Warning, Detail: "expires on"}, Finding{Verdict: Failure, Detail: "expired on"},
		Finding{Verdict: Failure, Detail: "valid from"}, Finding{Verdict: Failure, Detail: "cannot be used"}, Finding{Verdict: Failure, Detail: "no such file"})

	kept := filepath.Join(dir, "certificates")
	certify(t, filepath.Join(kept, "local", "a"), "a", now.Add(-day), now.Add(time.Hour))
	certify(t, filepath.Join(kept, "local", "b"), "b", now.Add(-2*day), now.Add(-day))
	if err := os.WriteFile(filepath.Join(kept, "c.crt"), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, Managed(kept, false, now), Finding{Verdict: Failure, Detail: "no PEM"}, Finding{Verdict: OK, Detail: "until"}, Finding{Verdict: OK, Detail: "renews it when it starts"})
	expect(t, Managed(kept, true, now)[2:], Finding{Verdict: Failure, Detail: "was not renewed"})
	if got := Managed("/no/such/folder", true, now); len(got) != 0 {
		t.Errorf("without a folder: %+v", got)
	}
}

func TestServerTellsItsVersion(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		path string
		want Finding
	}{
		{script("good", "[ \"$1\" = --version ] && echo noise >&2 && echo 'version: 7 (abc)' >&2"), Finding{Verdict: OK, Detail: "version 7 (abc)"}},
		{script("other", "echo hello"), Finding{Verdict: Failure, Detail: "another program"}},
		{script("dies", "exit 127"), Finding{Verdict: Failure, Detail: "exit status 127"}},
		{filepath.Join(dir, "none"), Finding{Verdict: Failure, Detail: "cannot be run"}},
	} {
		expect(t, []Finding{Server(t.Context(), test.path)}, test.want)
	}
}
