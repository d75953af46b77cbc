package fospha

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The part of the GraphQL language (October 2021) that queries need: operations
// with variables, fields with arguments and aliases. Fragments and directives are
// refused by name.

// A selection is a field that a query asks for.
type selection struct {
	alias, name string
	args        map[string]any // variable, or what JSON has
	fields      []selection
}

func (s selection) key() string {
	if s.alias != "" {
		return s.alias
	}
	return s.name
}

// A variable stands in an argument until its value is put there.
type variable string

// A declared variable of an operation.
type declared struct {
	name, typ  string
	byDefault  any
	hasDefault bool
}

type operation struct {
	name      string
	variables []declared
	fields    []selection
}

type parser struct {
	text  string
	at    int
	depth int
}

// maxDepth bounds nesting, so that no query takes the stack.
const maxDepth = 32

type syntaxError string

func (e syntaxError) Error() string { return "Syntax Error: " + string(e) }

// parseQuery reads a document of operations.
func parseQuery(text string) (all []operation, err error) {
	defer func() {
		if r := recover(); r != nil {
			bad, ok := r.(syntaxError)
			if !ok {
				panic(r)
			}
			all, err = nil, bad
		}
	}()
	p := &parser{text: text}
	for p.peek() != "" {
		var op operation
		switch word := p.peek(); word {
		case "{":
		case "query":
			p.next()
			if w := p.peek(); w != "{" && w != "(" {
				op.name = p.name()
			}
			op.variables = p.declarations()
		default:
			p.fail("unexpected " + strconv.Quote(word))
		}
		op.fields = p.selections()
		all = append(all, op)
	}
	return all, nil
}

func (p *parser) fail(what string) { panic(syntaxError(what)) }

// token returns the next token and where it ends.
func (p *parser) token() (text string, end int) {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r', ',':
			p.at++
			continue
		case '#':
			for p.at < len(p.text) && p.text[p.at] != '\n' {
				p.at++
			}
			continue
		}
		break
	}
	if p.at >= len(p.text) {
		return "", p.at
	}
	end = p.at + 1
	switch c := p.text[p.at]; {
	case c == '"':
		for end < len(p.text) && p.text[end] != '"' {
			if p.text[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(p.text) {
			p.fail("a string without an end")
		}
		end++
	case isWord(c) || c == '-':
		for end < len(p.text) && (isWord(p.text[end]) || p.text[end] == '.' || p.text[end] == '-' || p.text[end] == '+') {
			end++
		}
	}
	return p.text[p.at:end], end
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (p *parser) peek() string {
	text, _ := p.token()
	return text
}

func (p *parser) next() string {
	text, end := p.token()
	p.at = end
	return text
}

func (p *parser) want(text string) {
	if got := p.next(); got != text {
		p.fail(fmt.Sprintf("expected %q, found %q", text, got))
	}
}

func (p *parser) name() string {
	name := p.next()
	if name == "" || !isWord(name[0]) || name[0] >= '0' && name[0] <= '9' || strings.ContainsAny(name, ".+-") {
		p.fail(fmt.Sprintf("expected a name, found %q", name))
	}
	return name
}

func (p *parser) deeper() func() {
	if p.depth++; p.depth > maxDepth {
		p.fail("nested too deep")
	}
	return func() { p.depth-- }
}

func (p *parser) declarations() (all []declared) {
	if p.peek() != "(" {
		return nil
	}
	p.next()
	for p.peek() != ")" {
		p.want("$")
		d := declared{name: p.name()}
		p.want(":")
		d.typ = p.typeText()
		if p.peek() == "=" {
			p.next()
			d.byDefault, d.hasDefault = p.value(), true
		}
		all = append(all, d)
	}
	p.next()
	return all
}

func (p *parser) typeText() (text string) {
	defer p.deeper()()
	if p.peek() == "[" {
		p.next()
		text = "[" + p.typeText() + "]"
		p.want("]")
	} else {
		text = p.name()
	}
	if p.peek() == "!" {
		p.next()
		text += "!"
	}
	return text
}

func (p *parser) selections() (all []selection) {
	defer p.deeper()()
	p.want("{")
	for p.peek() != "}" {
		if w := p.peek(); w == "." || w == "@" {
			p.fail("the sandbox knows no fragments or directives")
		}
		s := selection{name: p.name()}
		if p.peek() == ":" {
			p.next()
			s.alias, s.name = s.name, p.name()
		}
		if p.peek() == "(" {
			p.next()
			s.args = map[string]any{}
			for p.peek() != ")" {
				name := p.name()
				p.want(":")
				s.args[name] = p.value()
			}
			p.next()
		}
		if p.peek() == "{" {
			s.fields = p.selections()
		}
		all = append(all, s)
	}
	p.next()
	if len(all) == 0 {
		p.fail("an empty selection")
	}
	return all
}

func (p *parser) value() any {
	defer p.deeper()()
	switch token := p.next(); {
	case token == "$":
		return variable(p.name())
	case token == "[":
		list := []any{}
		for p.peek() != "]" {
			list = append(list, p.value())
		}
		p.next()
		return list
	case token == "{":
		object := map[string]any{}
		for p.peek() != "}" {
			name := p.name()
			p.want(":")
			object[name] = p.value()
		}
		p.next()
		return object
	case token == "null":
		return nil
	case token == "true", token == "false":
		return token == "true"
	case strings.HasPrefix(token, `"`):
		var text string
		if json.Unmarshal([]byte(token), &text) != nil {
			p.fail("a string with a bad escape")
		}
		return text
	case token != "" && (token[0] == '-' || token[0] >= '0' && token[0] <= '9'):
		var number float64
		if json.Unmarshal([]byte(token), &number) != nil {
			p.fail("a bad number")
		}
		return number
	case token != "" && isWord(token[0]):
		return token // an enum value
	default:
		p.fail(fmt.Sprintf("unexpected %q", token))
		return nil
	}
}
