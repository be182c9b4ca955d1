package container

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestModesAreNotThoseOfTheCheckout checks that what a stage hands on has modes of its own: git keeps no more of a mode than
// whether a file can be run, and a checkout with umask 077 would make an image that cannot read its own Caddyfile.
func TestModesAreNotThoseOfTheCheckout(t *testing.T) {
	all := dockerfile(t)
	handedOn := 0
	for _, i := range all {
		match := regexp.MustCompile(`^--from=(\S+) (\S+) `).FindStringSubmatch(i.rest)
		if i.word != "COPY" || match == nil {
			continue
		}
		handedOn++
		stage, folder := match[1], path.Clean(match[2])
		if strings.HasPrefix(folder, "/sbom/") {
			folder = "/sbom"
		}
		steps := slices.DeleteFunc(slices.Clone(all), func(i instruction) bool { return i.stage != stage || i.word != "COPY" && i.word != "RUN" })
		if last := steps[len(steps)-1]; last.word != "RUN" || !strings.HasSuffix(last.rest, "&& chmod -R u=rwX,go=rX "+folder) {
			t.Errorf("the stage %s hands on %s with whatever modes, after %s %s", stage, folder, last.word, last.rest)
		}
	}
	if handedOn == 0 {
		t.Error("no stage hands on anything")
	}
	for _, i := range all {
		if i.word == "COPY" && (i.stage == "local" || i.stage == "remote-only") && !strings.HasPrefix(i.rest, "--from=") {
			t.Errorf("COPY %s takes modes from the checkout", i.rest)
		}
	}
}

// TestStepsDoNotAskTheTime checks that no step has another result on another day or machine by its own doing.
func TestStepsDoNotAskTheTime(t *testing.T) {
	for _, i := range dockerfile(t) {
		if i.word != "RUN" {
			continue
		}
		if found := regexp.MustCompile(`\bdate\b|\buname\b|\bnproc\b|RANDOM|/dev/u?random|\bmktemp\b|upgrade -|dist-upgrade|latest|git clone|git log|npm install|go install|go get`).FindString(i.rest); found != "" {
			t.Errorf("RUN %s: %s is another one each time", i.rest, found)
		}
		if !strings.Contains(i.rest, "apt-get install") {
			continue
		}
		if i.stage == "tools" {
			// Who keeps this stage as an image keeps its compiler.
			if !strings.Contains(i.rest, " --no-upgrade ") {
				t.Errorf("RUN %s brings newer tools into an image of tools", i.rest)
			}
			continue
		}
		for _, trace := range []string{"/var/lib/apt/lists/*", "/var/cache/apt/*", "/var/cache/ldconfig/aux-cache", "/var/lib/dpkg/*-old", "/var/log/apt", "/var/log/dpkg.log"} {
			if !strings.Contains(i.rest, " "+trace) {
				t.Errorf("RUN %s leaves %s", i.rest, trace)
			}
		}
	}
}
