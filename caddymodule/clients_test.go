package caddymodule

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// protocols are the ways to talk to a gateway.
var protocols = []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}

// client returns a client that speaks one protocol. It ends with the test.
func (g *gateway) client(protocol string) *http.Client {
	g.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(certificate(g.t).parsed)
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	wrap := func(transport http.RoundTripper) *http.Client {
		if g.retry {
			transport = &retrier{transport, &g.retries}
		}
		return &http.Client{Transport: transport, Timeout: time.Minute}
	}
	if protocol == "HTTP/3.0" {
		transport := &h3{address: g.address, config: config}
		g.t.Cleanup(transport.CloseIdleConnections)
		return wrap(transport)
	}
	transport := &http.Transport{
		TLSClientConfig:     config,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 100,
		Protocols:           new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", g.address)
		},
	}
	transport.Protocols.SetHTTP1(protocol == "HTTP/1.1")
	transport.Protocols.SetHTTP2(protocol == "HTTP/2.0")
	g.t.Cleanup(transport.CloseIdleConnections)
	return wrap(transport)
}

// retrier repeats requests that failed before any byte of an answer came, as clients do. During a reload there may be
// such: Caddy has a listener for each configuration, and when it closes the old one, the kernel resets the connections
// that this one has not accepted yet.
type retrier struct {
	transport http.RoundTripper
	count     *atomic.Int64
}

func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	for fresh := 0; ; {
		var reused, answered atomic.Bool
		trace := &httptrace.ClientTrace{
			GotConn:              func(info httptrace.GotConnInfo) { reused.Store(info.Reused) },
			GotFirstResponseByte: func() { answered.Store(true) },
		}
		attempt := req.Clone(httptrace.WithClientTrace(req.Context(), trace))
		if req.GetBody != nil {
			attempt.Body, _ = req.GetBody()
		}
		resp, err := r.transport.RoundTrip(attempt)
		// Any number of kept connections may be dead.
		if !reused.Load() {
			fresh++
		}
		if err == nil || answered.Load() || fresh > 3 || req.GetBody == nil || req.Context().Err() != nil {
			return resp, err
		}
		r.count.Add(1)
	}
}

func (r *retrier) CloseIdleConnections() {
	r.transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

// h3 is a transport for HTTP/3 that sends requests only over connections whose server has shown that it serves them. A
// quic-go server that is shut down may drop a connection that it has just accepted without closing it
// (http3.Server.serveListener, up to v0.65.0 at least): a reload does that to one in a thousand, under load. Requests over
// it would never be answered.
type h3 struct {
	address string
	config  *tls.Config

	mu   sync.Mutex // guards conn
	conn *http3.ClientConn
}

// servedWithin is how long a server may take to say something on a new connection.
const servedWithin = 5 * time.Second

func (c *h3) RoundTrip(req *http.Request) (*http.Response, error) {
	conn, err := c.connection(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := conn.RoundTrip(req)
	if err != nil {
		c.forget(conn)
	}
	return resp, err
}

// connection returns the current connection, or a new one.
func (c *h3) connection(ctx context.Context) (*http3.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.conn == nil || c.conn.Context().Err() != nil {
		config := c.config.Clone()
		config.NextProtos = []string{http3.NextProtoH3}
		config.ServerName = cmp.Or(config.ServerName, "localhost")
		conn, err := quic.DialAddr(ctx, c.address, config, &quic.Config{MaxIncomingStreams: -1})
		if err != nil {
			return nil, err
		}
		served := (&http3.Transport{DisableCompression: true}).NewClientConn(conn)
		select {
		case <-served.ReceivedSettings():
			c.conn = served
		case <-time.After(servedWithin):
			_ = served.CloseWithError(0, "")
		}
	}
	return c.conn, nil
}

func (c *h3) forget(conn *http3.ClientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn {
		c.conn = nil
	}
}

// CloseIdleConnections closes the connection, which must be idle.
func (c *h3) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.CloseWithError(0, "")
		c.conn = nil
	}
}

// keyPair is a certificate for localhost and its key.
type keyPair struct {
	parsed        *x509.Certificate
	file, keyFile string
}

var makeCertificate = sync.OnceValues(func() (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return keyPair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyPair{}, err
	}
	dir, err := os.MkdirTemp("", "llmcert")
	if err != nil {
		return keyPair{}, err
	}
	pair := keyPair{file: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem")}
	if pair.parsed, err = x509.ParseCertificate(der); err != nil {
		return keyPair{}, err
	}
	if err := os.WriteFile(pair.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return keyPair{}, err
	}
	return pair, os.WriteFile(pair.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)
})

// certificate returns the certificate that all gateways of this run have.
func certificate(t *testing.T) keyPair {
	t.Helper()
	pair, err := makeCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
