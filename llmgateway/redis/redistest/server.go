// Package redistest starts Redis servers for tests.
package redistest

import (
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Start starts a Redis server on a free port of 127.0.0.1 and returns its address and what kills it; it ends with the test
// at the latest. It is a real one if Redis is installed, or else an imitation in this process.
func Start(t *testing.T) (address string, kill func()) {
	t.Helper()
	program, err := find()
	if err != nil {
		t.Log("Redis is not installed; an imitation has to do")
		server := miniredis.RunT(t)
		return server.Addr(), sync.OnceFunc(server.Close)
	}
	// Somebody else may take a port before the server does.
	for range 5 {
		address, kill, ok := start(t, program)
		if ok {
			return address, kill
		}
	}
	t.Fatal("no Redis server comes up")
	return "", nil
}

// find returns a program that is a Redis server when it is called redis-server. Debian's package redis-tools has it under
// another name, without the service that the package redis-server would start on the machine.
func find() (program string, err error) {
	if program, err = exec.LookPath("redis-server"); err == nil {
		return program, nil
	}
	return exec.LookPath("redis-check-rdb")
}

func start(t *testing.T, program string) (address string, kill func(), ok bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = l.Close()
	cmd := exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	cmd.Args[0] = "redis-server"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	kill = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	t.Cleanup(kill)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			return "", nil, false
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return address, kill, true
		}
	}
	return "", nil, false
}
