package local

import (
	"bufio"
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MachineMemory returns how much memory engines may take unless somebody says it: what the machine has, or what its
// container may have of it, less a reserve for the system, this process and files that are being read, and all that GPUs
// have of their own. The reserve is an eighth, but at least 1 GiB and at most half. Where nothing tells how much there is,
// as outside Linux, there is no bound.
func MachineMemory() uint64 {
	total := min(memTotal("/proc/meminfo"), cgroupLimit("/proc/self/cgroup", "/sys/fs/cgroup"))
	if total == math.MaxUint64 {
		return total
	}
	gpus := gpuMemory("/sys/class/drm", "/proc/driver/nvidia")
	if gpus == math.MaxUint64 {
		return gpus
	}
	return total - min(max(total/8, 1<<30), total/2) + gpus
}

// gpuMemory adds up the memory of the GPUs. AMD's driver tells it, NVIDIA's has a program that does. It is the largest
// number if there is an NVIDIA GPU and nobody knows how large it is.
func gpuMemory(cards, nvidia string) (sum uint64) {
	files, _ := filepath.Glob(filepath.Join(cards, "card*", "device", "mem_info_vram_total"))
	for _, file := range files {
		if bytes := limitIn(file); bytes < math.MaxUint64 {
			sum += bytes
		}
	}
	if _, err := os.Stat(nvidia); err != nil {
		return sum
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	query := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
	query.Env = environment(os.Environ())
	out, err := query.Output()
	if err != nil {
		return math.MaxUint64
	}
	for line := range strings.Lines(string(out)) {
		mib, err := strconv.ParseUint(strings.TrimSpace(line), 10, 40)
		if err != nil {
			return math.MaxUint64
		}
		sum += mib << 20
	}
	return sum
}

// memTotal reads the machine's memory, or returns the largest number.
func memTotal(path string) uint64 {
	file, err := os.Open(path)
	if err != nil {
		return math.MaxUint64
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "MemTotal:"); ok {
			if kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 53); err == nil {
				return kib << 10
			}
		}
	}
	return math.MaxUint64
}

// cgroupLimit returns the lowest limit of the control groups that this process is in, of either version, or the largest
// number. A container may see its own group as the root, and its path from outside; what is not there is passed over.
func cgroupLimit(membership, root string) uint64 {
	data, err := os.ReadFile(membership)
	if err != nil {
		return math.MaxUint64
	}
	lowest := uint64(math.MaxUint64)
	for line := range strings.Lines(string(data)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		folder, name := root, "memory.max"
		if controllers != "" {
			if !strings.Contains(","+controllers+",", ",memory,") {
				continue
			}
			folder, name = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		}
		for path = filepath.Clean("/" + path); ; path = filepath.Dir(path) {
			lowest = min(lowest, limitIn(filepath.Join(folder, path, name)))
			if path == "/" {
				break
			}
		}
	}
	return lowest
}

// limitIn reads a number of bytes, such as a limit. No limit is the word max, or a number that no machine has.
func limitIn(path string) uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return math.MaxUint64
	}
	limit, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || limit == 0 {
		return math.MaxUint64
	}
	return limit
}
