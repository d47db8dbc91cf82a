// TLS and users at http_listen, with the file, the curl command and the configuration of
// Prometheus of docs/guides/monitoring.md.

package oncall_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"lvsd/integration/lvsdtest"
)

// blockOf returns a code block of docs/guides/monitoring.md, with the names of the lab.
func blockOf(t *testing.T, p *lvsdtest.Pair, name, hash string) string {
	t.Helper()
	text := lvsdtest.ReadRepositoryFile(t, "docs/guides/monitoring.md")
	m := regexp.MustCompile("(?s)```[a-z]+ ?" + regexp.QuoteMeta(name) + "\n(.*?)```").FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("the guide has no block %s", name)
	}
	return strings.NewReplacer("/etc/lvsd/http.", p.Path("http."), "/etc/prometheus/lvsd.", p.Path("lvsd."), "HASH", hash,
		"lb1.example.com", "10.77.0.11", `, "lb2.example.com:8112"`, "").Replace(string(m[1]))
}

// certificate writes a certificate and key for the address of the director.
func certificate(t *testing.T, p *lvsdtest.Pair) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lb1"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(10, 77, 0, 11)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"http.crt", "lvsd.crt"} {
		p.WriteFile(name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	}
	p.WritePrivate("http.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}

// TestOncallWebConfigFile serves HTTPS with basic authentication.
func TestOncallWebConfigFile(t *testing.T) {
	p := lvsdtest.NewPair(t, 0)
	certificate(t, p)
	const password = "open sesame"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	p.WriteFile("lvsd.password", password)
	web := p.WriteFile("web.yml", blockOf(t, p, "web.yml", string(hash)))
	file := func(web string) string {
		return strings.Replace(p.Config(), "[global]\n", fmt.Sprintf("[global]\nhttp_listen = \"10.77.0.11:8112\"\nweb_config_file = %q\n", web), 1)
	}
	p.WriteConfigText(file(web))
	d := p.LB[0]
	if out, err := d.LVSD("check", "-c", p.ConfigFile); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.StartDaemon()

	// The curl command of the document, with the password for which it prompts.
	var line string
	text := lvsdtest.ReadRepositoryFile(t, "docs/guides/monitoring.md")
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "curl --cacert") {
			line = strings.NewReplacer("/etc/lvsd/", p.Path("")+"/", "lb1.example.com", "10.77.0.11").Replace(strings.TrimSpace(l))
		}
	}
	curl := func(user string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		args := strings.Fields(strings.Replace(line, "--user prometheus", "--user X", 1))
		for i := range args {
			if args[i] == "X" {
				args[i] = user
			}
		}
		return p.Client.Run(ctx, append(args, "-s", "-S", "--fail")...)
	}
	if out, err := curl("prometheus:" + password); err != nil || !strings.Contains(out, "lvsd_build_info{") {
		t.Fatalf("%q: %v\n%s", line, err, out)
	}
	for _, user := range []string{"prometheus:wrong", "root:" + password} {
		if out, err := curl(user); err == nil || !strings.Contains(out, "401") {
			t.Errorf("as %s: %v %s", user, err, out)
		}
	}

	// The configuration of Prometheus.
	config := p.WriteFile("prometheus.yml", "global: {scrape_interval: 1s}\n"+blockOf(t, p, "prometheus.yml", ""))
	p.Client.MustRun("promtool", "check", "config", config)
	p.Client.Start("prometheus", "--config.file="+config, "--storage.tsdb.path="+p.Path("tsdb"), "--web.listen-address=127.0.0.1:9090")
	p.WaitUntil(2*time.Minute, "Prometheus to scrape with TLS and a user", func() bool {
		_, body, err := p.Client.Get("http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D%22lvsd%22%7D")
		return err == nil && strings.Contains(body, `"10.77.0.11:8112"`) && strings.HasSuffix(strings.TrimSpace(body), `,"1"]}]}}`)
	})

	// An error in the file: reported by check with its line, refused by a reload, and a
	// problem in the status; commands still work.
	if err := os.WriteFile(web, []byte(blockOf(t, p, "web.yml", string(hash))+"colour: blue\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := d.LVSD("check", "-c", p.ConfigFile); err == nil || !strings.Contains(out, web+":6: field colour not found") {
		t.Errorf("check: %v %s", err, out)
	}
	if out, err := d.Reload(); err == nil || !strings.Contains(out, web+":6: field colour not found") {
		t.Errorf("reload: %v %s", err, out)
	}
	p.WaitUntil(30*time.Second, "the problem in the status", func() bool {
		s, err := d.Status()
		return err == nil && lvsdtest.AnyContains(s.Problems, "all HTTP requests are refused: web_config_file is invalid: "+web+":6:")
	})
	if out, err := curl("prometheus:" + password); err == nil {
		t.Errorf("a response with a broken file: %s", out)
	}
	if err := os.WriteFile(web, []byte(blockOf(t, p, "web.yml", string(hash))), 0o600); err != nil {
		t.Fatal(err)
	}
	p.WaitUntil(30*time.Second, "the problem to end", func() bool {
		s, err := d.Status()
		return err == nil && !lvsdtest.AnyContains(s.Problems, "http_listen")
	})
	if out, err := d.Reload(); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if out, err := curl("prometheus:" + password); err != nil {
		t.Errorf("%v %s", err, out)
	}
}
