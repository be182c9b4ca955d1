package scripts

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

const asCaddy = "LLMGATEWAY_TEST_AS_CADDY"

// TestMain lets the test's own program be the caddy that scripts call.
func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) != "" {
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}

const someHash = "$2a$14$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"

// withSetup returns a checkout with setup.sh, .env.example, and a bin/caddy that does not take seconds to hash.
func withSetup(t *testing.T) *checkout {
	t.Helper()
	c := newCheckout(t, "setup.sh")
	example, err := os.ReadFile(filepath.Join("..", ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	c.write(".env.example", string(example), 0o644)
	c.write("bin/caddy", "#!/bin/sh\n[ \"$*\" = hash-password ] && read -r password && echo \"$password\" >hashed && echo '"+someHash+"'\n", 0o755)
	return c
}

// variables returns those of .env, without quotes.
func (c *checkout) variables() map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(c.read(".env")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			values[name] = strings.Trim(value, "'")
		}
	}
	return values
}

func TestSetupWritesWhatIsMissing(t *testing.T) {
	c := withSetup(t)
	out, err := c.run("", "setup.sh")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(filepath.Join(c.dir, ".env"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf(".env is for others to read: %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(c.dir, "keys")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the container cannot read keys: %v, %v", info, err)
	}
	values := c.variables()
	random := regexp.MustCompile(`^(sk-)?[0-9a-f]{48}$`)
	seen := map[string]bool{}
	for _, name := range []string{"LLM_KEY", "LLM_AGENT_KEY", "POSTGRES_PASSWORD"} {
		if value := values[name]; !random.MatchString(value) || seen[value] {
			t.Errorf("%s is %q", name, value)
		}
		seen[values[name]] = true
	}
	if got, want := values["DATABASE_URL"], "postgresql://postgres:"+values["POSTGRES_PASSWORD"]+"@postgres:5432/bytebotdb"; got != want {
		t.Errorf("DATABASE_URL is %q, want %q", got, want)
	}
	if !strings.Contains(c.read(".env"), "\nBYTEBOT_PASSWORD_HASH='"+someHash+"'\n") {
		t.Errorf("the hash is not in single quotes: %s", values["BYTEBOT_PASSWORD_HASH"])
	}
	password := strings.TrimSpace(c.read("hashed"))
	if !strings.Contains(out, password) || strings.Contains(c.read(".env"), password) || len(password) < 16 {
		t.Errorf("the password %q is in .env, is not told, or is short: %s", password, out)
	}
	for _, secret := range []string{values["LLM_KEY"], values["LLM_AGENT_KEY"], values["POSTGRES_PASSWORD"]} {
		if strings.Contains(out, secret) {
			t.Errorf("it prints keys: %s", out)
		}
	}

	// All the rest is as in .env.example, and a second run changes nothing.
	filled := regexp.MustCompile(`(?m)^(LLM_KEY|LLM_AGENT_KEY|POSTGRES_PASSWORD|DATABASE_URL|BYTEBOT_PASSWORD_HASH)=.*$`)
	if got := filled.ReplaceAllString(c.read(".env"), "$1="); got != c.read(".env.example") {
		t.Errorf(".env differs from .env.example in more than what is generated:\n%s", got)
	}
	before := c.read(".env")
	if out, err := c.run("", "setup.sh"); err != nil || c.read(".env") != before || !strings.Contains(out, "as it was") {
		t.Errorf("the second run: %v: %s", err, out)
	}
}

func TestSetupKeepsWhatIsThere(t *testing.T) {
	c := withSetup(t)
	const mine = "# mine\nexport LLM_KEY=\"my key\"\nHF_API_KEY=hf_mine\r\nPOSTGRES_PASSWORD=mine\nBYTEBOT_PASSWORD_HASH='" + someHash + "'\nLLM_AGENT_KEY=\nOTHER=$x # y"
	c.write(".env", mine, 0o644)
	out, err := c.run("", "setup.sh")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(out, "LLM_KEY has white space") {
		t.Errorf("it does not say that \"my key\" is two keys: %s", out)
	}
	got := c.read(".env")
	want := regexp.MustCompile("^" + strings.Replace(regexp.QuoteMeta(mine), "LLM_AGENT_KEY=", "LLM_AGENT_KEY=sk-[0-9a-f]{48}", 1) +
		"\nDATABASE_URL=postgresql://postgres:mine@postgres:5432/bytebotdb\n$")
	if !want.MatchString(got) {
		t.Errorf("got %q", got)
	}
	if info, err := os.Stat(filepath.Join(c.dir, ".env")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf(".env stays open to others: %v, %v", info, err)
	}
	if left, err := filepath.Glob(filepath.Join(c.dir, ".env.?????*")); err != nil || len(left) != 1 {
		t.Errorf("it leaves files: %q, %v", left, err)
	}
}

// Passwords are printed once, so that one that is not in force would be found out at the door.
func TestSetupKeepsWhatWasWrittenMeanwhile(t *testing.T) {
	for name, before := range map[string]string{"a new file": "", "a file that was there": "LLM_KEY=sk-mine\n"} {
		c := withSetup(t)
		if before != "" {
			c.write(".env", before, 0o600)
		}
		// Another one is ready while this one hashes.
		c.write("bin/caddy", "#!/bin/sh\necho LLM_KEY=sk-theirs >.env && echo '"+someHash+"'\n", 0o755)
		out, err := c.run("", "setup.sh")
		if got := c.read(".env"); err == nil || got != "LLM_KEY=sk-theirs\n" || !strings.Contains(out, "meanwhile") || strings.Contains(out, "password, which") {
			t.Errorf("%s: %v: %s, and .env is %q", name, err, out, got)
		}
		if left, err := filepath.Glob(filepath.Join(c.dir, ".env.?????*")); err != nil || len(left) != 1 {
			t.Errorf("%s: it leaves files: %q, %v", name, left, err)
		}
	}
}

// A comment is no value to Caddy and to compose.
func TestSetupFillsInWhatHasOnlyAComment(t *testing.T) {
	c := withSetup(t)
	c.write(".env", "LLM_KEY= # of the owner\nLLM_AGENT_KEY=sk-mine # of the agent\nPOSTGRES_PASSWORD='' # none\n", 0o600)
	if out, err := c.run("", "setup.sh"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := c.read(".env")
	for name, times := range map[string]int{"LLM_KEY": 2, "LLM_AGENT_KEY": 1, "POSTGRES_PASSWORD": 2, "DATABASE_URL": 1} {
		if strings.Count(got, "\n"+name+"=")+strings.Count(got[:len(name)+1], name+"=") != times {
			t.Errorf("%s is not there %d times:\n%s", name, times, got)
		}
	}
}

func TestSetupRefusesWhatItCannotPutTogether(t *testing.T) {
	tests := []struct{ name, env, want string }{
		{"a database without its password", "DATABASE_URL=postgresql://postgres:x@elsewhere/db\n", "POSTGRES_PASSWORD is not"},
		{"a password that is no part of a URL", "POSTGRES_PASSWORD='a@b'\n", "%XX"},
		{"two keys for the agent", "LLM_AGENT_KEY='one-key another-key'\n", "it must be one key"},
		{"the name of a volume", "LLM_KEYS_DIR=keys\n", "must begin with / or ./"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := withSetup(t)
			c.write(".env", test.env, 0o600)
			out, err := c.run("", "setup.sh")
			if err == nil || !strings.Contains(out, test.want) || c.read(".env") != test.env {
				t.Errorf("%v: %s; .env: %s", err, out, c.read(".env"))
			}
		})
	}

	c := withSetup(t)
	c.write("bin/caddy", "#!/bin/sh\nexit 1\n", 0o755)
	if out, err := c.run("", "setup.sh"); err == nil || !strings.Contains(out, "could not be hashed") {
		t.Errorf("without a hash: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(c.dir, ".env")); err == nil {
		t.Error("an .env without a hash was written")
	}
	if out, err := c.run("", "setup.sh", "--force"); err == nil || !strings.Contains(out, "no arguments") {
		t.Errorf("with an argument: %v: %s", err, out)
	}
}

// TestSetupHashesInAnImage checks the way of those who have no caddy: podman builds the image once, and hashes in it.
func TestSetupHashesInAnImage(t *testing.T) {
	c := withSetup(t)
	if err := os.Remove(filepath.Join(c.dir, "bin", "caddy")); err != nil {
		t.Fatal(err)
	}
	c.write("path/podman", `#!/bin/sh
echo "$*" >>podman.log
case $1-$2 in
image-inspect) exit 1 ;;
build--t) echo "some words of a build" ;;
run---rm) cat >hashed; echo '`+someHash+`' ;;
esac
`, 0o755)
	c.env = []string{"PATH=" + filepath.Join(c.dir, "path") + ":/usr/bin:/bin", "BYTEBOT_PASSWORD=my own"}
	out, err := c.run("", "setup.sh")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const want = "image inspect localhost/llmgateway:latest\nbuild -t localhost/llmgateway:latest .\n" +
		"run --rm --interactive --network none --entrypoint caddy localhost/llmgateway:latest hash-password\n"
	if got := c.read("podman.log"); got != want {
		t.Errorf("podman was called with %q", got)
	}
	if c.variables()["BYTEBOT_PASSWORD_HASH"] != someHash || c.read("hashed") != "my own\n" || strings.Contains(out, "my own") {
		t.Errorf("hashed %q, printed %s", c.read("hashed"), out)
	}
}

// TestCaddyReadsWhatSetupWrites checks with Caddy's own commands that its hash is one of the password, and that --envfile reads
// it as it is, dollar signs included.
func TestCaddyReadsWhatSetupWrites(t *testing.T) {
	c := withSetup(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// As caddy hash-password, but sooner.
	c.write("bin/caddy", "#!/bin/sh\n[ \"$1\" != hash-password ] || set -- \"$@\" --bcrypt-cost 4\n"+asCaddy+"=1 exec '"+self+"' \"$@\"\n", 0o755)
	c.env = []string{"BYTEBOT_PASSWORD=correct horse"}
	if out, err := c.run("", "setup.sh"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	hash := c.variables()["BYTEBOT_PASSWORD_HASH"]
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte("correct horse")); err != nil {
		t.Errorf("%s: %v", hash, err)
	}
	out, err := c.run("", "bin/caddy", "environ", "--envfile", filepath.Join(c.dir, ".env"))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, value := range c.variables() {
		if !strings.Contains(out, "\n"+name+"="+value+"\n") {
			t.Errorf("Caddy does not read %s=%s", name, value)
		}
	}
}
