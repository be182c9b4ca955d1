//go:build linux || darwin

package hub

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks a file for as long as it is open, unless another process has it.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// freeBytes returns how much may be written into a folder.
func freeBytes(dir string) (int64, bool) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, false
	}
	return int64(float64(stat.Bavail) * float64(stat.Bsize)), true
}
