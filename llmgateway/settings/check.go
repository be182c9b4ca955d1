package settings

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var (
	providerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	hostName     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
)

// Loopback reports whether only programs on this machine can reach the address.
func (s *Server) Loopback() bool {
	addr, err := netip.ParseAddr(s.Host)
	return s.Host == "localhost" || err == nil && addr.IsLoopback()
}

// check notes what is wrong between settings that are each well formed.
func (s *Settings) check(d *decoder) {
	s.Server.Host = strings.TrimSuffix(strings.TrimPrefix(s.Server.Host, "["), "]")
	if _, err := netip.ParseAddr(s.Server.Host); err != nil && !hostName.MatchString(s.Server.Host) {
		d.errorf(s.where(&s.Server.Host), "server.host", "write an address such as 127.0.0.1, 0.0.0.0 for all, or the name of one")
	}
	s.checkClients(d)
	if len(s.Providers) == 0 {
		if len(d.problems) == 0 {
			d.errorf(s.where(&s.Providers, s), "providers", "there must be at least one")
		}
		return
	}
	var names []string
	for i, p := range s.Providers {
		path := fmt.Sprintf("providers[%d]", i)
		if d.failed(path) {
			names = append(names, p.Name)
			continue
		}
		if p.Name == "" && d.at[&p.Name] == nil {
			d.errorf(s.where(p, &s.Providers[i], &s.Providers), path, "the provider has no name; write name: and a word of your choice")
		} else if err := checkName(p.Name, names); err != "" {
			d.errorf(s.where(&p.Name), path+".name", "%s", err)
		}
		names = append(names, p.Name)
		s.checkProvider(d, path, i)
	}
	s.checkPriority(d, names)
}

// checkClients notes clients that cannot be told apart or have no key, and a section without any, which looks as if it closed the
// gateway.
func (s *Settings) checkClients(d *decoder) {
	if node := d.at[&s.Clients]; node != nil && len(s.Clients) == 0 && !d.failed("clients") {
		d.errorf(node, "clients", "nobody is in the list; name a client, or remove the section for a gateway without keys")
	}
	var names []string
	for i, c := range s.Clients {
		path := fmt.Sprintf("clients[%d]", i)
		switch here := s.where(c, &s.Clients[i], &s.Clients); {
		case d.failed(path):
		case d.at[&c.Name] == nil:
			d.errorf(here, path, "the client has no name; write name: and a word of your choice")
		case d.at[&c.APIKey] == nil:
			d.errorf(here, path, "a client needs api_key, such as api_key: ${LLM_KEY_ANN}")
		case !d.failed(path+".name") && !providerName.MatchString(c.Name):
			d.errorf(s.where(&c.Name), path+".name", "%s", badName)
		case slices.Contains(names, c.Name):
			d.errorf(s.where(&c.Name), path+".name", "there is a client %s already", c.Name)
		}
		names = append(names, c.Name)
	}
}

// badName says what names are.
const badName = "write letters, digits, and . _ - between them"

// checkName returns what is wrong with a provider's name, or "".
func checkName(name string, others []string) string {
	switch {
	case !providerName.MatchString(name):
		return badName
	case name == Auto:
		return Auto + " is what clients ask for to leave the choice to the gateway; take another name"
	case slices.Contains(others, name):
		return "there is a provider " + name + " already"
	default:
		return ""
	}
}

// checkProvider notes what a provider of its type lacks, and what has no meaning for it.
func (s *Settings) checkProvider(d *decoder, path string, i int) {
	p := s.Providers[i]
	here := s.where(p, &s.Providers[i], &s.Providers)
	need := func(setting any, value, name, example string) {
		switch node := d.at[setting]; {
		case node == nil:
			d.errorf(here, path, "a provider of the type %s needs %s, such as %s: %s", p.Type, name, name, example)
		case value == "" && !d.failed(path+"."+name):
			d.errorf(node, path+"."+name, "there is no value; write one such as %s", example)
		}
	}
	refuse := func(setting any, name, why string) {
		if node := d.at[setting]; node != nil {
			d.errorf(node, path+"."+name, "it has no meaning for a provider of the type %s: %s", p.Type, why)
		}
	}
	switch p.Type {
	case LlamaCPP:
		need(&p.ModelPath, string(p.ModelPath), "model_path", "models/starter.gguf")
		if strings.HasSuffix(string(p.ModelPath), "/") {
			d.errorf(s.where(&p.ModelPath), path+".model_path", "write a file; a Caddyfile can offer all models of a folder, and `caddy llm migrate` begins one")
		}
		for _, f := range []struct {
			setting any
			name    string
		}{{&p.Model, "model"}, {&p.APIKey, "api_key"}, {&p.BaseURL, "base_url"}} {
			refuse(f.setting, f.name, "its model is the file in model_path")
		}
		return
	case HuggingFace, OpenRouter:
		need(&p.APIKey, string(p.APIKey), "api_key", map[string]string{HuggingFace: "${HF_API_KEY}", OpenRouter: "${OPENROUTER_API_KEY}"}[p.Type])
	case OpenAICompatible:
		need(&p.BaseURL, string(p.BaseURL), "base_url", "http://127.0.0.1:8000/v1")
	case "":
		if d.at[&p.Type] == nil {
			d.errorf(here, path, "the provider has no type; there are: %s, %s, %s, %s", LlamaCPP, HuggingFace, OpenRouter, OpenAICompatible)
		}
		return
	default:
		return // which is noted
	}
	need(&p.Model, string(p.Model), "model", "Qwen/Qwen2.5-7B-Instruct")
	refuse(&p.ModelPath, "model_path", "only the type llama.cpp runs a file")
	refuse(&p.Params, "params", "only the type llama.cpp runs a model")
	if node := d.at[&p.BaseURL]; node != nil {
		if err := checkURL(string(p.BaseURL)); err != "" && !d.failed(path+".base_url") {
			d.errorf(node, path+".base_url", "%s", err)
		}
	}
}

// checkURL returns what is wrong with a base URL, or "". What a variable holds is seen when the gateway starts.
func checkURL(base string) string {
	if strings.Contains(base, "{") {
		return ""
	}
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "write a URL such as https://llm.example.com/v1"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "write the URL without a user, a query or a fragment; a key goes into api_key"
	default:
		return ""
	}
}

// checkPriority notes names that are no provider's, and a choice among nobody.
func (s *Settings) checkPriority(d *decoder, names []string) {
	priority := s.AutoPick.Priority
	for i, name := range priority {
		node, path := s.where(&priority[i], &s.AutoPick.Priority), fmt.Sprintf("auto_pick.priority[%d]", i)
		switch {
		case d.failed(path):
		case !slices.Contains(names, name):
			d.errorf(node, path, "there is no provider %s%s; there are: %s", shown(name), meant(name, names), strings.Join(names, ", "))
		case slices.Contains(priority[:i], name):
			d.errorf(node, path, "%s is in the list already", name)
		}
	}
	if len(d.problems) > 0 {
		return
	}
	switch {
	case len(s.Offered()) == 0:
		d.errorf(s.where(&s.Providers), "providers", "all of them are switched off; set enabled: true for one at least")
	case len(s.Picks()) == 0:
		d.errorf(s.where(&s.AutoPick.Priority), "auto_pick.priority", "none of these providers is switched on; name one that is")
	}
}

// failed reports whether something is wrong with a setting already.
func (d *decoder) failed(path string) bool {
	return slices.ContainsFunc(d.problems, func(p *Problem) bool { return strings.HasPrefix(p.Message, path+": ") })
}
