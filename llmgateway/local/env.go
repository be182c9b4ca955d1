package local

import "strings"

// environment returns what a child may know of env: what it takes to find its libraries and devices. Keys of the
// gateway are none of its business, and LLAMA_ARG_* would change what the configuration says.
func environment(env []string) []string {
	var kept []string
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if passes(strings.ToUpper(name)) {
			kept = append(kept, entry)
		}
	}
	return kept
}

// serverEnvironment returns what llama-server may know of env. It is told not to call a debugger when it aborts: that takes
// seconds, in which the next one cannot start, and its words would drown those that say why.
func serverEnvironment(env []string) []string {
	return append([]string{"GGML_NO_BACKTRACE=1"}, environment(env)...)
}

var passedNames = map[string]bool{
	"PATH": true, "HOME": true, "TMPDIR": true, "LANG": true, "TZ": true, "LD_LIBRARY_PATH": true, "DYLD_LIBRARY_PATH": true,
	"XDG_CACHE_HOME": true, "XDG_RUNTIME_DIR": true, "GPU_DEVICE_ORDINAL": true,
}

var passedPrefixes = []string{
	"LC_", "GGML_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "ROCM_", "HSA_", "AMD_", "ZE_", "ZES_", "ONEAPI_", "SYCL_", "VK_", "MESA_", "OMP_", "KMP_", "GOMP_",
}

// secretParts catch keys that begin like a device's setting, such as NVIDIA_API_KEY.
var secretParts = []string{"KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL"}

func passes(name string) bool {
	for _, part := range secretParts {
		if strings.Contains(name, part) {
			return false
		}
	}
	if passedNames[name] {
		return true
	}
	for _, prefix := range passedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
