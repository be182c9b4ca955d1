package local

import (
	"io"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is a running child and everything it started.
type process struct {
	cmd *exec.Cmd

	// exited is closed when the child has ended, its output was read and nothing of it is left. err is set before.
	exited chan struct{}
	err    error

	mu    sync.Mutex // guards what follows
	ended bool       // true from when the child's number may belong to somebody else
	asked bool       // true after SIGTERM
}

// lingering is how long an ended child's output may be held open by others before it is given up.
const lingering = time.Second

// startProcess runs a program whose output goes to out.
//
// The child's life ends with the thread that started it (see attributes). So it is started by a goroutine that keeps its
// thread to itself, and stays until the child has ended.
func startProcess(path string, args, env []string, out io.Writer) (*process, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = lingering
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	preferForKill(cmd.Process.Pid)
	return p, nil
}

// wait collects the child, and kills what it leaves behind: a wrapper's llama-server would keep the memory and the socket.
func (p *process) wait() {
	if awaitExit(p.cmd.Process.Pid) {
		p.finish()
		p.err = p.cmd.Wait()
	} else {
		p.err = p.cmd.Wait()
		p.finish()
	}
	close(p.exited)
}

func (p *process) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	signalGroup(p.cmd.Process.Pid, syscall.SIGKILL)
}

// terminate asks the child's group to end, and does not wait. It asks only once: llama-server takes a second SIGTERM for
// impatience, and aborts.
func (p *process) terminate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && !p.asked {
		p.asked = true
		signalGroup(p.cmd.Process.Pid, syscall.SIGTERM)
	}
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		signalGroup(p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// stop asks the child to end, and kills it if it has not after the given time. It returns when nothing of it is left.
func (p *process) stop(patience time.Duration) {
	p.terminate()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.kill()
		<-p.exited
	}
}
