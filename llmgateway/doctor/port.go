package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"syscall"
)

// Ports looks whether the gateway could listen at the addresses, which are host:port, by listening there for a moment.
// running is true if a gateway runs already, which then has them.
func Ports(ctx context.Context, addresses []string, running bool) []Finding {
	var findings []Finding
	for _, address := range addresses {
		f := Finding{Area: "port", Subject: address, Verdict: OK, Detail: "is free"}
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		switch {
		case err == nil:
			_ = listener.Close()
		case errors.Is(err, syscall.EADDRINUSE) && running:
			f.Detail = "is in use while a gateway is running"
		case errors.Is(err, syscall.EADDRINUSE):
			f.Verdict, f.Detail = Failure, "another program has it"
			f.Advice = "see who with `ss -ltnp`, and end it, or choose another port"
		case errors.Is(err, fs.ErrPermission):
			f.Verdict, f.Detail = Failure, "this user may not listen there"
			f.Advice = "choose a port from 1024 on, or allow it: setcap cap_net_bind_service=+ep on the caddy binary"
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			f.Verdict, f.Detail = Failure, "this machine does not have that address"
			f.Advice = "correct the address after bind, or leave it out"
		default:
			f.Verdict, f.Detail = Failure, err.Error()
			f.Advice = "correct the site's address"
		}
		findings = append(findings, f)
	}
	return findings
}
