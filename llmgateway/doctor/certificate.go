package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Pair is a certificate and its key that the configuration loads from files.
type Pair struct{ Certificate, Key string }

// soon is how long before its end somebody should get a new certificate.
const soon = 21 * 24 * time.Hour

// Pairs looks at certificates that nobody renews by themselves.
func Pairs(pairs []Pair, now time.Time) []Finding {
	var findings []Finding
	for _, p := range pairs {
		f := Finding{Area: "certificate", Subject: p.Certificate, Verdict: OK}
		loaded, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
		switch {
		case err != nil:
			f.Verdict, f.Detail = Failure, "it cannot be used: "+reason(err)
			f.Advice = "check both files and that they belong together"
		case now.After(loaded.Leaf.NotAfter):
			f.Verdict, f.Detail = Failure, "it expired on "+loaded.Leaf.NotAfter.Format(time.DateOnly)
			f.Advice = "replace both files and reload with --force"
		case now.Before(loaded.Leaf.NotBefore):
			f.Verdict, f.Detail = Failure, "it is valid from "+loaded.Leaf.NotBefore.Format(time.DateOnly)+" only"
			f.Advice = "check this machine's clock, or wait"
		case loaded.Leaf.NotAfter.Sub(now) < soon:
			f.Verdict, f.Detail = Warning, "it expires on "+loaded.Leaf.NotAfter.Format(time.DateOnly)
			f.Advice = "get a new one, replace both files and reload with --force"
		default:
			f.Detail = "is valid until " + loaded.Leaf.NotAfter.Format(time.DateOnly)
		}
		findings = append(findings, f)
	}
	return findings
}

// maxManaged bounds how many certificates are looked at.
const maxManaged = 1000

// Managed looks at the certificates that Caddy keeps in a folder and renews. Their names are those of sites.
func Managed(folder string, running bool, now time.Time) []Finding {
	var findings []Finding
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".crt") {
			return nil
		}
		if len(findings) == maxManaged {
			return filepath.SkipAll
		}
		findings = append(findings, managed(path, running, now))
		return nil
	})
	return findings
}

func managed(path string, running bool, now time.Time) Finding {
	f := Finding{Area: "certificate", Subject: strings.TrimSuffix(filepath.Base(path), ".crt"), Verdict: OK}
	leaf, err := readCertificate(path)
	switch {
	case err != nil:
		f.Verdict, f.Detail = Failure, "it cannot be read: "+reason(err)
		f.Advice = "remove " + path + "; Caddy gets another"
	case now.Before(leaf.NotAfter):
		f.Detail = "is valid until " + leaf.NotAfter.Format(time.DateTime) + ", and Caddy renews it"
	case running:
		f.Verdict, f.Detail = Failure, "it expired on "+leaf.NotAfter.Format(time.DateTime)+" and was not renewed, though a gateway is running"
		f.Advice = "if the site is still configured, the log says why: often port 80 or 443 is not reachable from outside, or the name leads elsewhere"
	default:
		f.Detail = "expired on " + leaf.NotAfter.Format(time.DateTime) + "; Caddy renews it when it starts"
	}
	return f
}

func readCertificate(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("it is no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
