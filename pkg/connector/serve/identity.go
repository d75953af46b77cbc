package serve

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"os"
	"regexp"
	"strings"

	plugin "github.com/hashicorp/go-plugin"

	"github.com/winchdata/winch/internal/wire"
)

// certificateField is where go-plugin's handshake has the connector's certificate.
const certificateField = 5

// identify lets go-plugin serve with an identity of ours. What it makes itself is of
// another kind, and only that finds its way into the handshake: ours is put in.
func identify(config *plugin.ServeConfig) error {
	security, certificate, err := wire.ServerTLS(os.Getenv(wire.ClientCertificateEnv))
	if err != nil {
		return err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	config.TLSProvider = func() (*tls.Config, error) { return security, nil }
	// Serve prints the handshake, and then puts a pipe of its own in this place.
	agent := os.Stdout
	os.Stdout = out
	go func() {
		printed := bufio.NewReader(in)
		for told := false; !told; {
			line, err := printed.ReadString('\n')
			if err != nil {
				return // nobody prints any more
			}
			line, told = withCertificate(line, certificate)
			_, _ = agent.WriteString(line)
		}
		_, _ = io.Copy(agent, printed) // nothing, unless go-plugin prints more one day
	}()
	return nil
}

// handshake is the form of the one line that go-plugin prints when it serves.
var handshake = regexp.MustCompile(`^\d+\|\d+\|[^|]+\|[^|]+\|grpc\|(\|.*)?\n$`)

// withCertificate puts the certificate, in DER, into the line if that is a handshake
// without one.
func withCertificate(line string, certificate []byte) (_ string, told bool) {
	if !handshake.MatchString(line) {
		return line, false
	}
	fields := strings.Split(strings.TrimSuffix(line, "\n"), "|")
	fields[certificateField] = base64.RawStdEncoding.EncodeToString(certificate)
	return strings.Join(fields, "|") + "\n", true
}
