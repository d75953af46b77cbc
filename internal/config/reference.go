package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A reference is ${env:NAME}, ${file:path} or ${exec:command arguments}.
type reference struct {
	scheme string
	target string   // NAME, path, or the command line as written
	argv   []string // of exec
}

// String returns the reference as it is written. It is safe to print.
func (r reference) String() string { return "${" + r.scheme + ":" + r.target + "}" }

// A part of a text is literal or, if ref is set, a reference.
type part struct {
	literal string
	ref     *reference
}

const referenceForms = "the forms are ${env:NAME}, ${file:path} and ${exec:command arguments}; write $${ for a literal ${"

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseReferences splits text into literal text and references. $${ is a literal
// ${; any other $ stands for itself. The error does not show the text, which may
// be a secret.
func parseReferences(text string) ([]part, error) {
	var parts []part
	var literal strings.Builder
	for text != "" {
		switch {
		case strings.HasPrefix(text, "$${"):
			literal.WriteString("${")
			text = text[3:]
		case strings.HasPrefix(text, "${"):
			ref, rest, err := cutReference(text[2:])
			if err != nil {
				return nil, err
			}
			if literal.Len() > 0 {
				parts = append(parts, part{literal: literal.String()})
				literal.Reset()
			}
			parts = append(parts, part{ref: &ref})
			text = rest
		default:
			n := strings.IndexByte(text[1:], '$') + 1
			if n == 0 {
				n = len(text)
			}
			literal.WriteString(text[:n])
			text = text[n:]
		}
	}
	if literal.Len() > 0 {
		parts = append(parts, part{literal: literal.String()})
	}
	return parts, nil
}

// cutReference reads a reference whose "${" has been cut off.
func cutReference(text string) (ref reference, rest string, err error) {
	scheme, after, ok := strings.Cut(text, ":")
	if !ok || scheme != "env" && scheme != "file" && scheme != "exec" {
		return ref, "", errors.New("a reference of unknown form")
	}
	if scheme == "exec" {
		argv, used, err := splitCommand(after)
		if err != nil {
			return ref, "", err
		}
		return reference{scheme, after[:used], argv}, after[used+1:], nil
	}
	target, rest, ok := strings.Cut(after, "}")
	switch {
	case !ok:
		return ref, "", fmt.Errorf(`a reference ${%s:...} without its closing "}"`, scheme)
	case scheme == "env" && !variablePattern.MatchString(target):
		return ref, "", errors.New("want the name of an environment variable in ${env:NAME}: letters, digits and underscores")
	case target == "" || strings.ContainsFunc(target, isControl):
		return ref, "", errors.New("want a path in ${file:path}")
	}
	return reference{scheme: scheme, target: target}, rest, nil
}

// splitCommand splits a command line that ends at the first "}" outside of
// quotes, and returns where that is. Words are separated by spaces. Inside single
// quotes everything stands for itself; inside double quotes a backslash makes the
// next character stand for itself, and so it does outside of quotes. Nothing is
// expanded: there is no shell.
func splitCommand(text string) (argv []string, end int, err error) {
	var word strings.Builder
	inWord, quote := false, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case isControl(rune(c)) && c != '\t':
			return nil, 0, errors.New("a command must be one line of text")
		case quote == '\'' && c != '\'':
			word.WriteByte(c)
		case c == '\\':
			if i++; i == len(text) {
				return nil, 0, errors.New(`a reference ${exec:...} without its closing "}"`)
			}
			word.WriteByte(text[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '}':
			if inWord {
				argv = append(argv, word.String())
				word.Reset()
				inWord = false
			}
			if c != '}' {
				continue
			}
			if len(argv) == 0 || argv[0] == "" {
				return nil, 0, errors.New("want a command in ${exec:command arguments}")
			}
			return argv, i, nil
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, 0, errors.New("a quote inside ${exec:...} is not closed")
	}
	return nil, 0, errors.New(`a reference ${exec:...} without its closing "}"`)
}

// references returns the references among the parts.
func references(parts []part) []reference {
	var refs []reference
	for _, p := range parts {
		if p.ref != nil {
			refs = append(refs, *p.ref)
		}
	}
	return refs
}
