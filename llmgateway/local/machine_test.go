package local

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestMachineMemory(t *testing.T) {
	write := func(root, path, text string) {
		t.Helper()
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	write(root, "meminfo", "MemTotal:       24684084 kB\nMemFree:        23632348 kB\n")
	if got, want := memTotal(filepath.Join(root, "meminfo")), uint64(24684084)<<10; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	for _, test := range []struct {
		name, membership string
		files            map[string]string
		want             uint64
	}{
		{"version 2, a group above has the limit", "0::/a/b\n", map[string]string{"memory.max": "max\n", "a/memory.max": "1000\n", "a/b/memory.max": "max\n"}, 1000},
		{"version 2, in a container", "0::/\n", map[string]string{"memory.max": "2000\n"}, 2000},
		{
			"version 1, the path is that of the host", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n",
			map[string]string{"memory/memory.limit_in_bytes": "3000\n", "cpu/memory.limit_in_bytes": "1\n"},
			3000,
		},
		{"none", "0::/a\n", map[string]string{"memory.max": "max\n"}, math.MaxUint64},
		{"strange", "nonsense\n", nil, math.MaxUint64},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			write(root, "self", test.membership)
			for path, text := range test.files {
				write(root, "fs/"+path, text)
			}
			if got := cgroupLimit(filepath.Join(root, "self"), filepath.Join(root, "fs")); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
	if total := memTotal("/proc/meminfo"); total < math.MaxUint64 {
		gpus := gpuMemory("/sys/class/drm", "/proc/driver/nvidia")
		if got := MachineMemory(); got == 0 || got > total-total/8+gpus && gpus < math.MaxUint64 {
			t.Errorf("got %d of %d", got, total)
		}
	}
}

func TestMemoryOfGPUsCounts(t *testing.T) {
	root := t.TempDir()
	card := filepath.Join(root, "card0", "device")
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if err := os.MkdirAll(card, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(card, "mem_info_vram_total"), []byte("17163091968\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := gpuMemory(root, "/nowhere"); got != 17163091968 {
		t.Errorf("AMD: got %d", got)
	}
	if got := gpuMemory("/nowhere", root); got != math.MaxUint64 {
		t.Errorf("NVIDIA without its program: got %d, want no bound", got)
	}
	for said, want := range map[string]uint64{`81559\n81559\n`: 2 * 81559 << 20, `[N/A]\n`: math.MaxUint64} {
		script := "#!/bin/sh\nprintf '" + said + "'\n"
		if err := os.WriteFile(filepath.Join(bin, "nvidia-smi"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		if got := gpuMemory("/nowhere", root); got != want {
			t.Errorf("NVIDIA says %q: got %d, want %d", said, got, want)
		}
	}
}
