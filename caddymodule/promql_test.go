package caddymodule

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// query is an expression of Prometheus, as far as the dashboard and the alerts use its language. Prometheus' own parser would
// bring some twenty modules along.
type query struct {
	ranged    bool // a range vector
	scalar    bool
	labels    []string // of its series, if every is false
	every     bool     // its series have all labels of their metric
	selectors []*selector
}

// selector is a metric in a query, and the labels that the query expects it to have.
type selector struct {
	metric string
	labels []string
}

// expect notes that all metrics in the query have labels.
func (q query) expect(labels []string) {
	for _, s := range q.selectors {
		s.labels = append(s.labels, labels...)
	}
}

// parseQuery parses an expression.
func parseQuery(text string) (q query, err error) {
	p := &queryParser{tokens: queryToken.FindAllString(text, -1)}
	if rest := strings.TrimSpace(queryToken.ReplaceAllString(text, "")); rest != "" {
		return q, fmt.Errorf("%q is no token", rest)
	}
	defer func() {
		if fault, ok := recover().(queryFault); ok {
			err = fmt.Errorf("%s, before %q", string(fault), strings.Join(p.tokens, " "))
		}
	}()
	q = p.binary(0)
	if len(p.tokens) > 0 {
		panic(queryFault("the end is expected"))
	}
	return q, nil
}

type queryFault string

var (
	queryToken = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[0-9]+(?:ms|[smhdwy])|[0-9]+(?:\.[0-9]+)?|[a-zA-Z_:][a-zA-Z0-9_:]*|=~|!~|!=|==|>=|<=|[-+*/%^<>=(){}\[\],]`)
	queryName  = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)

	// queryFunctions are the functions by what their last argument must be.
	queryRanges    = []string{"rate", "increase", "max_over_time"}
	queryInstants  = []string{"histogram_quantile", "abs", "clamp_min"}
	queryAggregate = []string{"sum", "max", "min", "avg", "count"}
	queryLevels    = [][]string{{"or"}, {"and", "unless"}, {"==", "!=", ">", "<", ">=", "<="}, {"+", "-"}, {"*", "/", "%"}}
)

type queryParser struct{ tokens []string }

func (p *queryParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *queryParser) take() string {
	token := p.peek()
	if token == "" {
		panic(queryFault("there must be more"))
	}
	p.tokens = p.tokens[1:]
	return token
}

func (p *queryParser) want(token string) {
	if got := p.peek(); got != token {
		panic(queryFault(token + " is expected"))
	}
	p.take()
}

// binary parses operators of a level and those that bind stronger.
func (p *queryParser) binary(level int) query {
	if level == len(queryLevels) {
		return p.one()
	}
	left := p.binary(level + 1)
	for slices.Contains(queryLevels[level], p.peek()) {
		operator := p.take()
		var on []string
		matched := p.peek() == "on"
		if matched {
			p.take()
			on = p.labels()
		}
		right := p.binary(level + 1)
		set := level < 2
		if left.ranged || right.ranged || set && (left.scalar || right.scalar) || matched && (left.scalar || right.scalar) {
			panic(queryFault("operands of " + operator + " of the wrong kind"))
		}
		left.expect(on)
		right.expect(on)
		if left.scalar {
			left.labels, left.every = right.labels, right.every
		}
		left.scalar = left.scalar && right.scalar
		left.selectors = append(left.selectors, right.selectors...)
	}
	return left
}

// one parses what is no operator.
func (p *queryParser) one() query {
	token := p.take()
	switch {
	case token == "(":
		q := p.binary(0)
		p.want(")")
		return q
	case token[0] >= '0' && token[0] <= '9':
		if _, err := strconv.ParseFloat(token, 64); err != nil {
			panic(queryFault(token + " is no number"))
		}
		return query{scalar: true}
	case slices.Contains(queryAggregate, token):
		return p.aggregate()
	case !queryName.MatchString(token):
		panic(queryFault(token + " is out of place"))
	case p.peek() == "(":
		return p.function(token)
	default:
		return p.selector(token)
	}
}

func (p *queryParser) aggregate() query {
	var by []string
	if p.peek() == "by" {
		p.take()
		by = p.labels()
	}
	p.want("(")
	q := p.binary(0)
	p.want(")")
	if q.ranged || q.scalar {
		panic(queryFault("a vector must be aggregated"))
	}
	for _, label := range by {
		if !q.every && !slices.Contains(q.labels, label) {
			panic(queryFault("there is no label " + label + " any more"))
		}
	}
	q.expect(by)
	q.labels, q.every = by, false
	return q
}

func (p *queryParser) function(name string) query {
	ranged := slices.Contains(queryRanges, name)
	if !ranged && !slices.Contains(queryInstants, name) {
		panic(queryFault("there is no function " + name))
	}
	p.want("(")
	if name == "histogram_quantile" {
		if q := p.binary(0); !q.scalar {
			panic(queryFault("a quantile must be a number"))
		}
		p.want(",")
	}
	q := p.binary(0)
	p.want(")")
	if q.ranged != ranged || q.scalar {
		panic(queryFault(name + " is given the wrong kind"))
	}
	q.ranged = false
	if name == "histogram_quantile" {
		if i := slices.Index(q.labels, "le"); !q.every && i < 0 {
			panic(queryFault("the label le is lost"))
		}
		q.labels = slices.DeleteFunc(slices.Clone(q.labels), func(l string) bool { return l == "le" })
	}
	return q
}

func (p *queryParser) selector(metric string) query {
	s := &selector{metric: metric}
	q := query{every: true, selectors: []*selector{s}}
	if p.peek() == "{" {
		p.take()
		for p.peek() != "}" {
			s.labels = append(s.labels, p.take())
			if operator := p.take(); !slices.Contains([]string{"=", "!=", "=~", "!~"}, operator) {
				panic(queryFault(operator + " does not match"))
			}
			if value := p.take(); value[0] != '"' {
				panic(queryFault(value + " is no string"))
			}
			if p.peek() == "," {
				p.take()
			}
		}
		p.take()
	}
	if p.peek() == "[" {
		p.take()
		if d := p.take(); !strings.ContainsAny(d, "smhdwy") {
			panic(queryFault(d + " is no duration"))
		}
		p.want("]")
		q.ranged = true
	}
	return q
}

func (p *queryParser) labels() (labels []string) {
	p.want("(")
	for p.peek() != ")" {
		labels = append(labels, p.take())
		if p.peek() == "," {
			p.take()
		}
	}
	p.take()
	return labels
}

func TestQueriesAreCheckedAsPrometheusDoes(t *testing.T) {
	for text, good := range map[string]bool{
		`sum(rate(a[5m]))`: true, `sum by (x) (a{y=~"1|2",z!="3"}) / 2 > 0.5`: true, `a and on (x) b`: true, `a unless on (x) b > 0`: true,
		`histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))`: true, `(a)`: true, `1`: true,
		``: false, `sum(a[5m])`: false, `rate(a)`: false, `sum(rate(a[5m])`: false, `sum by (x) (sum by (y) (a))`: false, `a{x=1}`: false,
		`histogram_quantile(0.9, sum(rate(a[5m])))`: false, `foo(a)`: false, `a b`: false, `a and 1`: false, `a[5]`: false, `a ; b`: false, `rate(a[5m]`: false,
	} {
		if _, err := parseQuery(text); (err == nil) != good {
			t.Errorf("%s: got %v", text, err)
		}
	}
}
