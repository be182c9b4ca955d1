package local

import (
	"strings"
	"syscall"
	"testing"
)

// TestRealServerServesWithAFullDisk saves to disks that have no room.
func TestRealServerServesWithAFullDisk(t *testing.T) {
	model := starterModel(t)
	for _, test := range []struct {
		name string
		mega string // size of the disk
		tell bool   // the disk is known to be too small
	}{
		{"known before", "2m", true},
		{"noticed while writing", "128k", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "mode=700,size="+test.mega); err != nil {
				t.Skip("may not mount a disk: ", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(folder, 0) })
			var logs lockedBuffer
			e := realEngine(t, &logs, Config{ModelPath: model, NCtx: 2048, CacheDir: folder})
			acquire(t, e).Release()
			if !test.tell {
				e.current.cache.spare, e.current.cache.tokenBytes = 0, 0
			}
			take(t, &Provider{Engine: e}, conversation(2))
			restart(t, e)
			if left := saved(t, folder); len(left) != 0 {
				t.Errorf("left over: %v", left)
			}
			want := "Unable to save slot"
			if test.tell {
				want = "the disk is too full"
			}
			if !strings.Contains(logs.String(), want) {
				t.Errorf("the log does not say %q: %s", want, logs.String())
			}
			e = realEngine(t, nil, Config{ModelPath: model, NCtx: 2048, CacheDir: folder})
			take(t, &Provider{Engine: e}, conversation(2))
		})
	}
}
