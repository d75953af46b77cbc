package config

import "net/url"

// ParseSink reads the address of a sink as a flag of the command line gives it: a
// URL as sink.url has it, references included, a relative path relative to the
// working directory. A password that stands there itself is refused, since others
// on the machine can read command lines. Errors are Problems.
func ParseSink(flag, text string, environ []string) (Sink, error) {
	problem := Problem{Variable: flag, Value: redacted}
	parts, err := parseReferences(text)
	switch {
	case err != nil:
		problem.Message, problem.Fix = err.Error(), referenceForms
		return Sink{}, Problems{problem}
	case len(references(parts)) == 0 && hasPassword(text):
		problem.Message = "others on this machine can read a password on the command line"
		problem.Fix = "set an environment variable to the URL and write '${env:NAME}'"
		return Sink{}, Problems{problem}
	}
	if err := checkSinkURL(parts, ""); err != nil {
		problem.Message = err.Error()
		return Sink{}, Problems{problem}
	}
	return Sink{hide(&template{at: problem, parts: parts, env: newEnvironment(environ)})}, nil
}

func hasPassword(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false // and so no URL of a sink
	}
	_, set := u.User.Password()
	return set || u.Query().Has("password")
}
