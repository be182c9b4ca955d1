//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package local

import "syscall"

// attributes makes a child the leader of its own group. Unlike on Linux, it outlives a gateway that is killed.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func preferForKill(int) {}

func awaitExit(int) bool { return false }

func groupActivity(int) activity { return activity{} }

func freeSpace(string) (bytes uint64, known bool) { return 0, false }
