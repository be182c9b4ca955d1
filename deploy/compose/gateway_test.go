package compose

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// gateway returns the only service of compose.gateway.yml.
func gateway(t *testing.T, env map[string]string) types.ServiceConfig {
	t.Helper()
	project, err := read(t.Context(), "compose.gateway.yml", env)
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Services) != 1 {
		t.Fatalf("there are the services %v", project.ServiceNames())
	}
	return project.Services["caddy"]
}

// TestGatewayAloneNeedsNoSetup checks that it starts with no .env, and is as confined as in the whole deployment.
func TestGatewayAloneNeedsNoSetup(t *testing.T) {
	got, want := gateway(t, map[string]string{}), load(t, "compose.yml", nil).Services["caddy"]
	for _, field := range []string{
		"Build", "CapAdd", "CapDrop", "ContainerName", "HealthCheck", "Image", "MemLimit", "PidsLimit", "Privileged", "ReadOnly", "Restart", "SecurityOpt",
		"StopGracePeriod", "Tmpfs",
	} {
		g, w := reflect.ValueOf(got).FieldByName(field).Interface(), reflect.ValueOf(want).FieldByName(field).Interface()
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s is %v, and %v in compose.yml", field, g, w)
		}
	}
}

// TestGatewayAloneIsWhereConfigYamlListens checks that the example listens at what is published, and that only this machine
// reaches it, because the example asks nobody for a key.
func TestGatewayAloneIsWhereConfigYamlListens(t *testing.T) {
	service := gateway(t, map[string]string{"LLM_PORT": "8000"})
	if len(service.Ports) != 1 {
		t.Fatalf("it publishes %v", service.Ports)
	}
	port := service.Ports[0]
	if port.HostIP != "127.0.0.1" || port.Published != "8000" {
		t.Errorf("it is published at %s:%s", port.HostIP, port.Published)
	}

	text := sources(t, "llmgateway/config.yaml")["llmgateway/config.yaml"]
	var example struct {
		Server struct {
			Host string `yaml:"host"`
			Port uint32 `yaml:"port"`
		} `yaml:"server"`
	}
	if err := yaml.Unmarshal([]byte(text), &example); err != nil {
		t.Fatal(err)
	}
	if example.Server.Host != "0.0.0.0" || example.Server.Port != port.Target {
		t.Errorf("the example listens at %s:%d, and port %d is published", example.Server.Host, example.Server.Port, port.Target)
	}
	for _, match := range regexp.MustCompile(`\$\{(\w+)`).FindAllStringSubmatch(text, -1) {
		if _, ok := service.Environment[match[1]]; !ok {
			t.Errorf("the container has no %s", match[1])
		}
	}
}

func TestGatewayAloneReadsConfigYaml(t *testing.T) {
	want := []string{"run", "--config", "/etc/caddy/config.yaml", "--adapter", "llmgateway"}
	example, err := filepath.Abs(filepath.Join(root, "llmgateway/config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for env, file := range map[string]string{"": example, other: other} {
		service := gateway(t, map[string]string{"LLM_CONFIG": env})
		if !slices.Equal(service.Command, want) {
			t.Errorf("it runs %q", service.Command)
		}
		if line := "\tlocalhost/llmgateway " + strings.Join(service.Command, " ") + "\n"; !strings.Contains(sources(t, "docs/*.md")["docs/config-yaml.md"], line) {
			t.Errorf("docs/config-yaml.md does not say how to do the same without compose: %s", line)
		}
		i := slices.IndexFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/etc/caddy/config.yaml" })
		if i < 0 || !service.Volumes[i].ReadOnly || service.Volumes[i].Source != file {
			t.Errorf("it sees %v", service.Volumes)
		}
	}
}

// TestGatewayAloneKnowsNoSecretOfOthers checks that what .env has for the rest of Bytebot stays there.
func TestGatewayAloneKnowsNoSecretOfOthers(t *testing.T) {
	env := example(t)
	maps.Copy(env, secrets)
	service := gateway(t, env)
	for _, name := range []string{"BYTEBOT_PASSWORD_HASH", "DATABASE_URL", "LLM_AGENT_KEY", "POSTGRES_PASSWORD"} {
		for variable, value := range service.Environment {
			if value != nil && strings.Contains(*value, secrets[name]) {
				t.Errorf("%s has %s", variable, name)
			}
		}
	}
}
