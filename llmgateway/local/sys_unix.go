//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package local

import (
	"fmt"
	"os"
	"syscall"
)

// lockDir opens a folder and locks it for as long as it is open. It fails if another process has the lock, or if the
// folder was removed meanwhile. Children do not inherit the lock.
func lockDir(path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = dir.Close()
		return nil, fmt.Errorf("locking: %w", err)
	}
	opened, err1 := dir.Stat()
	named, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(opened, named) {
		_ = dir.Close()
		return nil, fmt.Errorf("locking: %w", os.ErrNotExist)
	}
	return dir, nil
}

// isOurs reports whether a file belongs to the user that this process runs as.
func isOurs(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// inode returns the number of a file in its file system.
func inode(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}

// signalGroup sends a signal to a process and those it started.
func signalGroup(pid int, signal syscall.Signal) { _ = syscall.Kill(-pid, signal) }
