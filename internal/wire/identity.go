package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"time"
)

// ClientCertificateEnv is the variable in which a connector gets the certificate of
// the only peer that it may talk to, as by go-plugin's AutoMTLS.
const ClientCertificateEnv = "PLUGIN_CLIENT_CERT"

// serverName is what go-plugin's certificates are for.
const serverName = "localhost"

// newIdentity makes a key and a certificate that stands for itself, for one side of
// one connection. go-plugin's AutoMTLS would take the curve P-521, with which a start
// takes more than twice as long (BenchmarkLaunch of internal/plugin).
func newIdentity() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return tls.Certificate{}, err
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
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// ClientTLS is the agent's side of a connection to one connector, and its
// certificate as ClientCertificateEnv holds it. It trusts nobody until go-plugin has
// put the connector's certificate into RootCAs.
func ClientTLS() (config *tls.Config, certificate string, err error) {
	identity, err := newIdentity()
	if err != nil {
		return nil, "", err
	}
	block := &pem.Block{Type: "CERTIFICATE", Bytes: identity.Certificate[0]}
	return &tls.Config{
		Certificates: []tls.Certificate{identity},
		RootCAs:      x509.NewCertPool(),
		MinVersion:   tls.VersionTLS12,
		ServerName:   serverName,
	}, string(pem.EncodeToMemory(block)), nil
}

// ServerTLS is the connector's side, for the peer with that certificate, and its own
// certificate as the handshake tells it to the agent, in DER.
func ServerTLS(clientCertificate string) (config *tls.Config, certificate []byte, err error) {
	peers := x509.NewCertPool()
	if !peers.AppendCertsFromPEM([]byte(clientCertificate)) {
		return nil, nil, errors.New(ClientCertificateEnv + " holds no certificate")
	}
	identity, err := newIdentity()
	if err != nil {
		return nil, nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{identity},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    peers,
		MinVersion:   tls.VersionTLS12,
	}, identity.Certificate[0], nil
}
