package local

import (
	"os"
	"strconv"
	"syscall"
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
