package compose

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

func TestOnlyCaddyPublishesPorts(t *testing.T) {
	want := []string{"0.0.0.0:80 to 80/tcp", "0.0.0.0:443 to 443/tcp", "0.0.0.0:443 to 443/udp", "127.0.0.1:7000 to 7001/tcp", "127.0.0.1:9992 to 9992/tcp"}
	for name, service := range load(t, "compose.yml", nil).Services {
		var got []string
		for _, port := range service.Ports {
			host := port.HostIP
			if host == "" {
				host = "0.0.0.0"
			}
			got = append(got, fmt.Sprintf("%s:%s to %d/%s", host, port.Published, port.Target, port.Protocol))
		}
		if name == "caddy" && !slices.Equal(got, want) {
			t.Errorf("caddy publishes %q, want %q", got, want)
		}
		if name != "caddy" && len(got) > 0 {
			t.Errorf("%s publishes %q", name, got)
		}
		if service.NetworkMode != "" || service.Pid != "" || service.Ipc != "" {
			t.Errorf("%s shares a namespace of the host or of another service", name)
		}
	}
}

// TestServicesReachCaddy checks that caddy listens to other containers where the Caddyfile by itself would not.
func TestServicesReachCaddy(t *testing.T) {
	if got := load(t, "compose.yml", nil).Services["caddy"].Environment["LLM_PRIVATE_BIND"]; got == nil || *got != "0.0.0.0" {
		t.Errorf("LLM_PRIVATE_BIND: got %v", got)
	}
}

// TestWhoMeetsWhom checks which services share a network; what share none do not reach each other.
func TestWhoMeetsWhom(t *testing.T) {
	project := load(t, "compose.yml", nil)
	want := map[string][]string{
		"caddy":           {"bytebot-agent", "bytebot-desktop", "bytebot-ui"},
		"bytebot-desktop": {"caddy"},
		"bytebot-agent":   {"bytebot-migrate", "bytebot-ui", "caddy", "postgres"},
		"bytebot-ui":      {"bytebot-agent", "caddy"},
		"bytebot-migrate": {"bytebot-agent", "postgres"},
		"postgres":        {"bytebot-agent", "bytebot-migrate"},
	}
	got := map[string][]string{}
	for name, service := range project.Services {
		met := map[string]bool{}
		for network := range service.Networks {
			for other, their := range project.Services {
				if _, shared := their.Networks[network]; shared && other != name {
					met[other] = true
				}
			}
		}
		got[name] = slices.Sorted(maps.Keys(met))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("these share networks: %q, want %q", got, want)
	}
}

func TestNetworksLeadOutsideOnlyWhereNeeded(t *testing.T) {
	project := load(t, "compose.yml", nil)
	members := map[string][]string{}
	for name, service := range project.Services {
		for network := range service.Networks {
			if !project.Networks[network].Internal {
				members[network] = append(members[network], name)
			}
		}
	}
	want := map[string][]string{"access": {"caddy"}, "internet": {"bytebot-desktop"}, "registry": {"bytebot-migrate"}}
	if !reflect.DeepEqual(members, want) {
		t.Errorf("these networks lead outside: %q, want %q", members, want)
	}
	// Docker publishes ports through the first network by name that leads outside.
	published := slices.Collect(maps.Keys(project.Services["caddy"].Networks))
	slices.Sort(published)
	if published[0] != "access" {
		t.Errorf("caddy's first network is %s", published[0])
	}
	for name, network := range project.Networks {
		if network.DriverOpts["isolate"] != "true" {
			t.Errorf("podman does not isolate the network %s", name)
		}
	}
	if pools := project.Networks["desk"].Ipam.Config; len(pools) != 1 || pools[0].Subnet != example(t)["DESK_SUBNET"] {
		t.Errorf("the network desk has not the subnet that the Caddyfile refuses: %v", pools)
	}
}

func TestServicesAreConfined(t *testing.T) {
	// Who may have more, for reasons that compose.yml tells.
	moreRights := map[string]bool{"bytebot-desktop": true}
	writesToRoot := map[string]bool{"bytebot-desktop": true, "bytebot-ui": true, "bytebot-migrate": true}
	for name, service := range load(t, "compose.yml", nil).Services {
		if service.Privileged || !slices.Equal(service.CapDrop, []string{"ALL"}) {
			t.Errorf("%s keeps capabilities", name)
		}
		if slices.Contains(service.SecurityOpt, "no-new-privileges") == moreRights[name] || (len(service.CapAdd) > 0) != moreRights[name] {
			t.Errorf("%s: security_opt %q, cap_add %q", name, service.SecurityOpt, service.CapAdd)
		}
		for _, dangerous := range []string{"SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_PTRACE", "SYS_MODULE", "DAC_READ_SEARCH", "MKNOD"} {
			if slices.Contains(service.CapAdd, dangerous) {
				t.Errorf("%s may %s", name, dangerous)
			}
		}
		if service.ReadOnly == writesToRoot[name] {
			t.Errorf("%s: read_only is %t", name, service.ReadOnly)
		}
		if service.MemLimit == 0 || service.PidsLimit == 0 {
			t.Errorf("%s may take all memory or processes", name)
		}
		if service.Restart == "" {
			t.Errorf("%s stays down after a crash", name)
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind && (name != "caddy" || !volume.ReadOnly) {
				t.Errorf("%s may write to %s of the host", name, volume.Source)
			}
		}
	}
}

// TestKeysOfClientsAreRead checks that caddy reads further keys from the folder that .env names, and from one that is there and
// holds none where it names none.
func TestKeysOfClientsAreRead(t *testing.T) {
	for folder, want := range map[string]string{"": "keys", "./keys": "keys", "./team": "team", "/srv/keys": "/srv/keys"} {
		project := load(t, "compose.yml", map[string]string{"LLM_KEYS_DIR": folder})
		for name, service := range project.Services {
			for _, volume := range service.Volumes {
				source := strings.TrimPrefix(volume.Source, project.WorkingDir+"/")
				if (volume.Target == "/keys") != (source == want) || source == want && (name != "caddy" || !volume.ReadOnly) {
					t.Errorf("%s: %s sees %s at %s", folder, name, source, volume.Target)
				}
			}
		}
		caddy := project.Services["caddy"]
		if got := caddy.Environment["LLM_KEYS_DIR"]; got == nil || *got != "/keys" ||
			!slices.ContainsFunc(caddy.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/keys" }) {
			t.Errorf("%s: caddy has no keys: %v", folder, got)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "keys")); err != nil {
		t.Error(err)
	}
}

func TestServicesTellHowTheyAre(t *testing.T) {
	project := load(t, "compose.yml", nil)
	for name, service := range project.Services {
		check := service.HealthCheck
		if name == "bytebot-migrate" {
			continue // it ends
		}
		if check == nil || check.Disable || len(check.Test) < 2 || check.Interval == nil || check.Timeout == nil {
			t.Errorf("%s has no complete health check", name)
			continue
		}
		for _, word := range check.Test[1:] {
			if check.Test[0] == "CMD" && !regexp.MustCompile(`^[\w@%+=:,./-]+$`).MatchString(word) {
				t.Errorf("%s: podman-compose 1.3 does not quote %s in the list of a health check; write the command as text", name, word)
			}
		}
	}
	if strings.Contains(sources(t, "compose.yml")["compose.yml"], "CMD-SHELL") {
		t.Error("podman-compose 1.4 takes the text in a list after CMD-SHELL for a program's name; write it without a list")
	}
	want := map[string]map[string]string{
		"bytebot-agent": {"postgres": types.ServiceConditionHealthy, "bytebot-migrate": types.ServiceConditionCompletedSuccessfully},
		"bytebot-ui":    {"bytebot-agent": types.ServiceConditionHealthy},
	}
	got := map[string]map[string]string{}
	for name, service := range project.Services {
		for other, dependency := range service.DependsOn {
			if got[name] == nil {
				got[name] = map[string]string{}
			}
			got[name][other] = dependency.Condition
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("dependencies are %v, want %v", got, want)
	}
}

// TestAnswersMayFinish checks that the engine waits longer for Caddy to stop than Caddy waits for answers to finish.
func TestAnswersMayFinish(t *testing.T) {
	match := regexp.MustCompile(`(?m)^\tgrace_period (\S+)$`).FindStringSubmatch(sources(t, "Caddyfile")["Caddyfile"])
	if match == nil {
		t.Fatal("the Caddyfile has no grace_period")
	}
	grace, err := time.ParseDuration(match[1])
	if err != nil {
		t.Fatal(err)
	}
	if got := load(t, "compose.yml", nil).Services["caddy"].StopGracePeriod; got == nil || time.Duration(*got) <= grace {
		t.Errorf("stop_grace_period is %v, grace_period %v", got, grace)
	}
}

func TestSecretsGoOnlyWhereTheyAreUsed(t *testing.T) {
	want := map[string][]string{
		"BYTEBOT_PASSWORD_HASH": {"caddy"},
		"HF_API_KEY":            {"caddy"},
		"LLM_AGENT_KEY":         {"bytebot-agent", "caddy"},
		"LLM_KEY":               {"caddy"},
		"OPENROUTER_API_KEY":    {"caddy"},
		"POSTGRES_PASSWORD":     {"bytebot-agent", "bytebot-migrate", "postgres"},
	}
	services := load(t, "compose.yml", nil).Services
	for secret, users := range want {
		var got []string
		for name, service := range services {
			for _, value := range service.Environment {
				if value != nil && strings.Contains(*value, secrets[secret]) {
					got = append(got, name)
					break
				}
			}
			for _, arg := range slices.Concat([]string(service.Command), []string(service.Entrypoint), []string(service.HealthCheck.Test)) {
				if strings.Contains(arg, secrets[secret]) {
					t.Errorf("%s is in a command of %s", secret, name)
				}
			}
			if service.Build != nil {
				for _, value := range service.Build.Args {
					if value != nil && strings.Contains(*value, secrets[secret]) {
						t.Errorf("%s would be in an image", secret)
					}
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, users) {
			t.Errorf("%s is given to %q, want %q", secret, got, users)
		}
	}
	if got := *services["caddy"].Environment["BYTEBOT_PASSWORD_HASH"]; got != secrets["BYTEBOT_PASSWORD_HASH"] {
		t.Errorf("the password's hash arrives as %q", got)
	}
}

// TestImagesAreNamedInOnePlace checks that services refer to x-images, where a variable may name another image.
func TestImagesAreNamedInOnePlace(t *testing.T) {
	text := sources(t, "compose.yml")["compose.yml"]
	images := regexp.MustCompile(`(?m)^    image: (.*)$`).FindAllStringSubmatch(text, -1)
	if got, want := len(images), len(load(t, "compose.yml", nil).Services); got != want {
		t.Errorf("%d services have an image, want %d", got, want)
	}
	for _, image := range images {
		if !strings.HasPrefix(image[1], "*") {
			t.Errorf("the image %s is not in x-images", image[1])
		}
	}
	for _, image := range regexp.MustCompile(`(?m)^  \w+: &\w+-image (.*)$`).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`^\$\{[A-Z_]+_IMAGE:-\S+/\S+:[\w.-]+\}$`).MatchString(image[1]) {
			t.Errorf("the image %s has no registry, no tag or no variable", image[1])
		}
	}
}

func TestDockerComposeFileIsTheSame(t *testing.T) {
	one, other := load(t, "compose.yml", nil), load(t, "docker-compose.yml", nil)
	if !reflect.DeepEqual(one.Services, other.Services) || !reflect.DeepEqual(one.Networks, other.Networks) ||
		!reflect.DeepEqual(one.Volumes, other.Volumes) || one.Name != other.Name {
		t.Errorf("docker-compose.yml differs from compose.yml: %v, %v", other, one)
	}
}

func TestProfiles(t *testing.T) {
	tests := []struct {
		profile, target, backend string
		gpus                     int
		memory                   types.UnitBytes
	}{
		{"local", "", "", 0, 12 << 30},
		{"gpu", "", "cuda", 1, 12 << 30},
		{"remote-only", "remote-only", "", 0, 1 << 30},
	}
	local := load(t, "compose.yml", nil)
	for _, test := range tests {
		t.Run(test.profile, func(t *testing.T) {
			project := load(t, "compose.yml", map[string]string{"LLM_PROFILE": test.profile})
			caddy := project.Services["caddy"]
			gpus := 0
			if caddy.Deploy != nil && caddy.Deploy.Resources.Reservations != nil {
				gpus = len(caddy.Deploy.Resources.Reservations.Devices)
			}
			backend := ""
			if arg := caddy.Build.Args["LLAMA_BACKEND"]; arg != nil {
				backend = *arg
			}
			if caddy.Build.Target != test.target || backend != test.backend || gpus != test.gpus || caddy.MemLimit != test.memory {
				t.Errorf("target %q, backend %q, %d GPUs, memory %d", caddy.Build.Target, backend, gpus, caddy.MemLimit)
			}
			// Nothing else differs.
			same := local.Services["caddy"]
			caddy.Build, caddy.Deploy, caddy.MemLimit = same.Build, same.Deploy, same.MemLimit
			if !reflect.DeepEqual(caddy, same) {
				t.Errorf("caddy differs from the profile local: %v", caddy)
			}
		})
	}
}

func TestMissingSecretsSayWhatToRun(t *testing.T) {
	for _, name := range []string{"BYTEBOT_PASSWORD_HASH", "DATABASE_URL", "LLM_AGENT_KEY", "LLM_KEY", "POSTGRES_PASSWORD"} {
		env := example(t)
		maps.Copy(env, secrets)
		env[name] = ""
		if _, err := read(t.Context(), "compose.yml", env); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "./setup.sh") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
