// Real servers that are Debian's nginx: a real program with real timing.
// server.go has faster ones inside this process.

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// NginxServer is one nginx on one host. It responds with its name on every path and
// with 200 on /healthz.
type NginxServer struct {
	host    *Host
	addr    netip.AddrPort
	dir     string
	process *Process
}

// nginxConf keeps everything in one folder and uses one process: a fork is expensive in
// User-Mode Linux, and one process ID suffices to end it.
const nginxConf = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log warn;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	keepalive_timeout 600;
	keepalive_requests 1000000;
	default_type text/plain;
	server {
		listen %[2]s;
		location = /healthz {
			if (!-f %[1]s/healthy) { return 503 "unhealthy\n"; }
			return 200 "ok\n";
		}
		location / { %[3]s }
	}
}
`

// Nginx starts an nginx on the host and returns when it accepts connections. addr is a
// port ("80": on all addresses, VIPs included) or an address and port; body is its
// response.
func Nginx(h *Host, addr, body string) *NginxServer {
	h.lab.tb.Helper()
	if strings.ContainsAny(body, "\"\\$\n") {
		h.lab.tb.Fatalf("lab: nginx cannot say %q", body)
	}
	return startNginx(h, addr, "", fmt.Sprintf("return 200 \"%s\\n\";", body))
}

// NginxTLS is Nginx with TLS and the certificate and key of these files.
func NginxTLS(h *Host, addr, body, certFile, keyFile string) *NginxServer {
	h.lab.tb.Helper()
	return startNginx(h, addr, fmt.Sprintf(" ssl; ssl_certificate %s; ssl_certificate_key %s", certFile, keyFile), fmt.Sprintf("return 200 \"%s\\n\";", body))
}

// NginxFiles starts an nginx that serves the files of a folder, and for a folder its
// index.html.
func NginxFiles(h *Host, addr, folder string) *NginxServer {
	h.lab.tb.Helper()
	return startNginx(h, addr, "", "root "+folder+";")
}

// startNginx has more after the address to listen on, and what / replies.
func startNginx(h *Host, addr, listening, location string) *NginxServer {
	tb := h.lab.tb
	tb.Helper()
	listen := addr
	if !strings.Contains(addr, ":") {
		addr = net.JoinHostPort(h.Addr().String(), addr)
		if h.Addr().Is6() {
			listen = "[::]:" + listen
		}
	}
	ap, err := netip.ParseAddrPort(addr)
	h.lab.must(err, "read the address of nginx on %s", h.Name)
	dir, err := os.MkdirTemp(h.lab.dir, h.Name+"-nginx-")
	h.lab.must(err, "make a folder for nginx on %s", h.Name)
	s := &NginxServer{host: h, addr: ap, dir: dir}
	h.lab.must(os.WriteFile(dir+"/nginx.conf", fmt.Appendf(nil, nginxConf, dir, listen+listening, location), 0o644), "write nginx.conf")
	s.SetHealthy(true)
	s.Start()
	return s
}

// nginxPath is the path in Debian, which is not in every user's PATH.
func nginxPath() string {
	const debian = "/usr/sbin/nginx"
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	return "nginx"
}

// Start starts it (again) and waits until it accepts connections.
func (s *NginxServer) Start() {
	tb := s.host.lab.tb
	tb.Helper()
	s.process = s.host.Start(nginxPath(), "-e", s.dir+"/error.log", "-p", s.dir, "-c", s.dir+"/nginx.conf")
	took, ok := Poll(20*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := s.host.Dial(ctx, "tcp", s.addr.String())
		if err == nil {
			conn.Close()
		}
		return err == nil || !s.process.Running()
	})
	if !ok || !s.process.Running() {
		log, _ := os.ReadFile(s.dir + "/error.log")
		tb.Fatalf("lab: nginx on %s does not accept on %s after %v:\n%s%s", s.host.Name, s.addr, took, s.process.Tail(20), log)
	}
}

// Stop ends it at once: its connections are closed, new ones are refused. It returns
// when the process has ended.
func (s *NginxServer) Stop() {
	s.host.lab.tb.Helper()
	s.process.Terminate()
	s.gone()
}

// Kill kills it, as a crash.
func (s *NginxServer) Kill() {
	s.host.lab.tb.Helper()
	s.process.Kill()
	s.gone()
}

func (s *NginxServer) gone() {
	s.host.lab.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.process.Wait(ctx); errors.Is(err, context.DeadlineExceeded) {
		s.host.lab.tb.Fatalf("lab: nginx on %s does not end", s.host.Name)
	}
}

// SetHealthy sets the status of /healthz: 200 or 503.
func (s *NginxServer) SetHealthy(ok bool) {
	s.host.lab.tb.Helper()
	var err error
	if ok {
		err = os.WriteFile(s.dir+"/healthy", nil, 0o644)
	} else {
		err = os.Remove(s.dir + "/healthy")
	}
	if err != nil && !os.IsNotExist(err) {
		s.host.lab.must(err, "change the health of nginx on %s", s.host.Name)
	}
}

// Addr is the host's own address with its port.
func (s *NginxServer) Addr() netip.AddrPort { return s.addr }

// Process is the running nginx, for signals (Stop and Cont make it hang).
func (s *NginxServer) Process() *Process { return s.process }
