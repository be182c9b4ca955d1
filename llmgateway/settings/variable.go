package settings

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is a setting that is fully known only where the gateway runs. A variable in it, ${NAME} in the file, stays the
// placeholder {env.NAME}; other placeholders are {file.PATH}.
type Text string

// Secret is the placeholder of a secret, {env.NAME} or {file.PATH}.
type Secret string

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	placeholder  = regexp.MustCompile(`\{(env\.[A-Za-z_][A-Za-z0-9_]*|file\.[^{}\s]+)\}`)
	// secretName is what variables are called that hold secrets.
	secretName = regexp.MustCompile(`(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$`)
)

// variables is where the values of variables come from.
type variables func(name string) (string, bool)

// text replaces the variables of a Text: by a placeholder, or at once where there is a default.
func (v variables) text(raw string) (Text, error) {
	expanded, err := expand(raw, func(name, fallback string, defaulted bool) (string, error) {
		if !defaulted {
			return "{env." + name + "}", nil
		}
		return v.resolve(name, fallback, true)
	})
	if err != nil {
		return "", err
	}
	return Text(expanded), checkText(expanded)
}

// secret replaces the variable of a Secret.
func (v variables) secret(raw string) (Secret, error) {
	expanded, err := expand(raw, func(name, _ string, defaulted bool) (string, error) {
		if defaulted {
			return "", fmt.Errorf("a secret has no default, which would be readable in the configuration; write ${%s}", name)
		}
		return "{env." + name + "}", nil
	})
	if err != nil {
		return "", err
	}
	if loc := placeholder.FindStringIndex(expanded); loc == nil || loc[0] != 0 || loc[1] != len(expanded) {
		return "", errors.New("write the variable that the key is in, such as ${HF_API_KEY}, or {file./path/to/it}, and nothing else: a key itself would be readable in the configuration")
	}
	return Secret(expanded), nil
}

// plain replaces the variables of a setting that must be known at once.
func (v variables) plain(raw string) (string, error) {
	expanded, err := expand(raw, v.resolve)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(expanded, "{}") {
		return "", errors.New("write no braces here, but in ${NAME} or ${NAME:-default}")
	}
	return expanded, checkText(expanded)
}

// resolve returns the value of a variable, or its default where it is not set or empty.
func (v variables) resolve(name, fallback string, defaulted bool) (string, error) {
	if secretName.MatchString(name) {
		return "", fmt.Errorf("the value of %s, by its name a secret, would be readable in the configuration", name)
	}
	if value, ok := v(name); ok && value != "" {
		return value, nil
	}
	if !defaulted {
		return "", fmt.Errorf("the variable %s is not set, and its value is needed to read the configuration; set it, or write ${%s:-default}", name, name)
	}
	return fallback, nil
}

// expand replaces each ${NAME} and ${NAME:-default}. $$ is a dollar sign.
func expand(raw string, replace func(name, fallback string, defaulted bool) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(raw, "$")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			raw = rest[1:]
			continue
		case !strings.HasPrefix(rest, "{"):
			b.WriteByte('$')
			raw = rest
			continue
		}
		inner, after, closed := strings.Cut(rest[1:], "}")
		if !closed {
			return "", errors.New("the } of ${ is missing")
		}
		name, fallback, defaulted := strings.Cut(inner, ":-")
		if !variableName.MatchString(name) {
			return "", errors.New("a variable is written ${NAME} or ${NAME:-default}, with letters, digits and _ in its name")
		}
		value, err := replace(name, fallback, defaulted)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		raw = after
	}
}

// checkText refuses what no setting needs and a Caddyfile could misunderstand: control characters, backquotes, and braces that
// are no placeholder.
func checkText(s string) error {
	switch {
	case !utf8.ValidString(s):
		return errors.New("this is not UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\uFEFF' || r == '\u2028' || r == '\u2029' }):
		return errors.New("write it in one line, without control characters")
	case strings.Contains(s, "`"):
		return errors.New("write it without backquotes")
	case strings.Contains(s, "{$"):
		return errors.New("write ${NAME}, not {$NAME}")
	case strings.ContainsAny(placeholder.ReplaceAllLiteralString(s, ""), "{}"):
		return errors.New("of placeholders there are ${NAME}, {env.NAME} and {file.PATH}; no other braces")
	}
	return nil
}
