package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"
)

// drawing is a query of the dashboard or of an alert, and the labels that its texts show.
type drawing struct {
	title, expr string
	shows       []string
}

// shown are the labels in a legend of Grafana, and in an annotation of Prometheus.
var (
	legendLabel     = regexp.MustCompile(`{{\s*(\w+)\s*}}`)
	annotationLabel = regexp.MustCompile(`{{\s*\$labels\.(\w+)\s*}}`)
)

func labelsIn(text string, label *regexp.Regexp) (labels []string) {
	for _, match := range label.FindAllStringSubmatch(text, -1) {
		labels = append(labels, match[1])
	}
	return labels
}

// dashboard returns the queries of the dashboard.
func dashboard(t *testing.T) (drawings []drawing) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, "deploy", "grafana", "llmgateway.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID    string
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]bool)
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d %q has no title, or the number of another", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")
			drawings = append(drawings, drawing{p.Title, expr, labelsIn(target.LegendFormat, legendLabel)})
		}
	}
	if d.UID == "" || len(drawings) == 0 {
		t.Errorf("the dashboard %q has %d queries", d.UID, len(drawings))
	}
	return drawings
}

// alerts returns the queries of the alerts.
func alerts(t *testing.T) (drawings []drawing) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, "deploy", "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			if r.Alert == "" || seen[r.Alert] || r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
				t.Errorf("alert %q lacks something, or has the name of another", r.Alert)
			}
			seen[r.Alert] = true
			drawings = append(drawings, drawing{r.Alert, r.Expr, labelsIn(r.Annotations["summary"]+r.Annotations["description"], annotationLabel)})
		}
	}
	if len(drawings) == 0 {
		t.Error("there are no alerts")
	}
	return drawings
}

// series returns the labels that a metric has, by the name that a query calls it.
func series(all map[string]*dto.MetricFamily, name string) (labels []string, ok bool) {
	if name == "up" { // Prometheus' own
		return []string{"job", "instance"}, true
	}
	family := all[name]
	if base, bucket := strings.CutSuffix(name, "_bucket"); bucket && all[base].GetType() == dto.MetricType_HISTOGRAM {
		family, labels = all[base], []string{"le"}
	}
	if family == nil || family.GetType() == dto.MetricType_HISTOGRAM && labels == nil {
		return nil, false
	}
	for _, l := range family.GetMetric()[0].GetLabel() {
		labels = append(labels, l.GetName())
	}
	return labels, true
}

func TestDashboardAndAlertsAskForWhatThereIs(t *testing.T) {
	all := mixedGateway(t).families()
	for _, d := range append(dashboard(t), alerts(t)...) {
		q, err := parseQuery(d.expr)
		if err != nil {
			t.Errorf("%s: %s: %v", d.title, d.expr, err)
			continue
		}
		var has []string
		for _, s := range q.selectors {
			labels, ok := series(all, s.metric)
			if !ok {
				t.Errorf("%s: there is no metric %s", d.title, s.metric)
			}
			for _, label := range s.labels {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: %s has no label %s, but %v", d.title, s.metric, label, labels)
				}
			}
			has = append(has, labels...)
		}
		if !q.every {
			has = q.labels
		}
		for _, label := range d.shows {
			if !slices.Contains(has, label) {
				t.Errorf("%s: shows the label %s of %s, which has %v", d.title, label, d.expr, has)
			}
		}
	}
}
