//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package local

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }

func preferForKill(int) {}

func awaitExit(int) bool { return false }

func groupActivity(int) activity { return activity{} }

func freeSpace(string) (bytes uint64, known bool) { return 0, false }
