// Package settings reads config.yaml: the providers, their order, and what is shared by all of them, in one short file.
//
// It says what a file means and where it is wrong, with line, column and the name that was probably meant. What runs by it
// is put together elsewhere.
package settings

// Settings is a whole config.yaml.
type Settings struct {
	// Where the gateway listens, and what it logs.
	Server Server `yaml:"server"`
	// Who may use the gateway, each with a key. Left out, everybody who can reach it.
	Clients []*Client `yaml:"clients"`
	// Where answers come from.
	Providers []*Provider `yaml:"providers"`
	// How a provider is chosen for a request that names none.
	AutoPick AutoPick `yaml:"auto_pick"`
	// Answering equal requests with one answer. Left out, it is off.
	Cache *Cache `yaml:"cache"`
	// How many requests are taken. Left out, there is no limit.
	RateLimit *RateLimit `yaml:"rate_limit"`

	at positions
}

// Server is where the gateway listens, and what it logs.
type Server struct {
	// The address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 for all networks it is in.
	Host string `yaml:"host"`
	// The port to listen on.
	Port int `yaml:"port" range:"1-65535"`
	// The least that is logged: debug has a line for each request, info tells what changes.
	LogLevel string `yaml:"log_level" enum:"debug,info,warn,error"`
}

func (s *Server) setDefaults() { *s = Server{Host: "127.0.0.1", Port: 7000, LogLevel: "info"} }

// Client is somebody who may use the gateway.
type Client struct {
	// What the client is called in logs. Each has its own share of rate_limit, and answers of its own in the cache.
	Name string `yaml:"name"`
	// The key that the client sends: the variable or the file that it is in, never the key itself. It has at least 16 characters. If it is empty, the gateway does not start.
	APIKey Secret `yaml:"api_key"`
}

// AutoPick is how a provider is chosen for a request that names none.
type AutoPick struct {
	// Whether the gateway chooses. If it does not, a request must name its provider, and nobody else is asked.
	Enabled bool `yaml:"enabled"`
	// The names of the providers to choose from, the first one first. Left out, all of them in the order of the file. A provider that is not in it is asked only if it is named.
	Priority []string `yaml:"priority"`
	// How long a provider may take to its first token, in milliseconds, before the next one is asked.
	TimeoutMS int `yaml:"timeout_ms" range:"1-86400000"`
	// How often a request is tried again after its first try, with the next provider as long as there is one. Left out, once for each further provider.
	MaxRetries *int `yaml:"max_retries" range:"0-100"`
}

func (a *AutoPick) setDefaults() { *a = AutoPick{Enabled: true, TimeoutMS: 30000} }

// Cache keeps answers for equal requests.
type Cache struct {
	// Whether answers are kept.
	Enabled bool `yaml:"enabled"`
	// How many answers are kept. Together they take 64 MiB of memory at most.
	MaxSize int `yaml:"max_size" range:"1-100000000"`
	// How long an answer is used, in seconds.
	TTLSeconds int `yaml:"ttl_seconds" range:"1-31536000"`
}

func (c *Cache) setDefaults() { *c = Cache{Enabled: true, MaxSize: 1000, TTLSeconds: 3600} }

// RateLimit bounds how many requests are answered.
type RateLimit struct {
	// Whether requests are counted.
	Enabled bool `yaml:"enabled"`
	// How many requests are answered within a minute: of each of the clients or, if there are none, of everybody together.
	RequestsPerMinute int `yaml:"requests_per_minute" range:"1-1000000"`
}

func (r *RateLimit) setDefaults() { *r = RateLimit{Enabled: true, RequestsPerMinute: 60} }

// Picks returns the providers that are chosen from, the first one first. Those that are switched off are not among them.
func (s *Settings) Picks() []*Provider {
	if s.AutoPick.Priority == nil {
		return s.Offered()
	}
	var picks []*Provider
	for _, name := range s.AutoPick.Priority {
		if p := s.provider(name); p != nil && p.Enabled {
			picks = append(picks, p)
		}
	}
	return picks
}

// Offered returns the providers that are not switched off.
func (s *Settings) Offered() []*Provider {
	var offered []*Provider
	for _, p := range s.Providers {
		if p.Enabled {
			offered = append(offered, p)
		}
	}
	return offered
}

// provider returns the provider of a name, or nil.
func (s *Settings) provider(name string) *Provider {
	for _, p := range s.Providers {
		if p.Name == name {
			return p
		}
	}
	return nil
}
