package local

import (
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestUnreadableModelIsReportedAndLoadedOnceItIsReadable(t *testing.T) {
	e := engine(t, nil)
	if err := os.Chmod(e.key.ModelPath, 0); err != nil {
		t.Fatal(err)
	}
	// Root may read everything, unless this thread's file accesses are those of somebody else.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 {
		const nobody = 65534
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
	}
	status := e.Status()
	_ = syscall.Setfsuid(os.Geteuid())
	if status.State != llmgateway.StateFailed || status.Detail != "the model file fake-model.gguf may not be read" {
		t.Errorf("got %+v, want that it may not be read", status)
	}
	if err := os.Chmod(e.key.ModelPath, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := e.Status().State; got != llmgateway.StateIdle {
		t.Errorf("readable again: got %s", got)
	}
	acquire(t, e)
}
