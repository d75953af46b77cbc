package plugin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// clientCertEnv is the variable in which go-plugin's AutoMTLS gives a connector the
// certificate of the only peer that it may talk to.
const clientCertEnv = "PLUGIN_CLIENT_CERT"

// serverName is what go-plugin's certificates are for.
const serverName = "localhost"

// newIdentity makes a key and a certificate for one connection to one connector, as
// go-plugin's AutoMTLS does, but on the curve P-256: with P-521, which that takes,
// a start takes a third longer (BenchmarkLaunch). The connector answers with its own
// certificate, which go-plugin puts into config as the only one to trust.
func newIdentity() (certificate []byte, config *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: serverName, Organization: []string{"winch"}},
		DNSNames:     []string{serverName},
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.AddDate(30, 0, 0), // it lives as long as the connector
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IsCA:         true, BasicConstraintsValid: true, // it stands for itself
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		RootCAs:      x509.NewCertPool(), // nobody, until the connector has answered
		MinVersion:   tls.VersionTLS12,
		ServerName:   serverName,
	}, nil
}
