package local

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// attributes makes a child the leader of its own group, which gets SIGKILL when the thread that started it ends.
//
// The kernel forgets the signal if the child gains privileges by exec (a setuid file, file capabilities). If the gateway
// dies between fork and the child's prctl, Go's own code in the child sees that its parent changed and kills itself.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// preferForKill makes the kernel choose the child when memory runs out, not the gateway.
func preferForKill(pid int) {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("500"), 0)
}

// awaitExit waits for the end of a child without collecting it, so that its number cannot belong to another process yet.
// It returns false if that is not possible.
func awaitExit(pid int) bool {
	const idTypePID = 1
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, idTypePID, uintptr(pid), 0, syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno != syscall.EINTR {
			return errno == 0
		}
	}
}

// groupActivity adds up what the processes of a group have done.
func groupActivity(pgid int) (sum activity) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name in parentheses may hold anything.
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		const group, majorFaults, userTime, systemTime, resident = 2, 9, 11, 12, 21
		if len(fields) <= resident || fields[group] != strconv.Itoa(pgid) {
			continue
		}
		number := func(field string) uint64 {
			n, _ := strconv.ParseUint(field, 10, 64)
			return n
		}
		const tick = 10 * time.Millisecond // USER_HZ is 100 everywhere that Go runs on
		sum.known = true
		sum.cpu += time.Duration(number(fields[userTime])+number(fields[systemTime])) * tick
		sum.faults += number(fields[majorFaults])
		sum.memory += number(fields[resident]) * uint64(os.Getpagesize())
		io, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "io"))
		for line := range strings.Lines(string(io)) {
			if read, ok := strings.CutPrefix(line, "rchar: "); ok {
				sum.read += number(strings.TrimSpace(read))
			}
		}
	}
	return sum
}

// freeSpace returns how many bytes of a folder's disk this user may still take.
func freeSpace(path string) (bytes uint64, known bool) {
	var stat syscall.Statfs_t
	if syscall.Statfs(path, &stat) != nil {
		return 0, false
	}
	return stat.Bavail * uint64(stat.Bsize), true
}
