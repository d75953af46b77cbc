package serve

import "testing"

func TestHandshakeGetsTheCertificate(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"1|1|unix|/tmp/plugin1|grpc|\n":          "1|1|unix|/tmp/plugin1|grpc|AQI\n",
		"1|1|unix|/tmp/plugin1|grpc||true\n":     "1|1|unix|/tmp/plugin1|grpc|AQI|true\n",
		"1|1|unix|/tmp/plugin1|grpc|theirs\n":    "",
		"1|1|unix|/tmp/plugin1|grpc|":            "",
		"1|1|unix|/tmp/plugin1|netrpc|\n":        "",
		"hello|from|the|start|of|a|connector|\n": "",
		"\n":                                     "",
	} {
		got, told := withCertificate(line, []byte{1, 2})
		if told != (want != "") || told && got != want || !told && got != line {
			t.Errorf("%q became %q, %v; want %q", line, got, told, want)
		}
	}
}
