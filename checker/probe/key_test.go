package probe

import (
	"crypto/x509"
	"lvsd/checker/probe/dialogue"
	"net/netip"
	"reflect"
	"testing"
)

// notInKey are the fields that do not make another probe: how results are counted, what
// is hidden of them, and what another field represents.
var notInKey = map[string]bool{"Name": true, "Rise": true, "Fall": true, "Secrets": true, "TLS.CAs": true, "TLS.Certificate": true}

// TestKey: every field is part of the key, and no two fields can be confused. A new
// field is covered without a change here.
func TestKey(t *testing.T) {
	plain := Check{Type: TypeTCP, TLS: &TLSConfig{}}
	seen := map[string]string{string(plain.AppendKey(nil)): "no field"}
	vary := func(name string, index ...int) {
		c, tls := plain, *plain.TLS
		c.TLS = &tls
		v := reflect.ValueOf(&c).Elem()
		for _, i := range index {
			if v.Kind() == reflect.Pointer {
				v = v.Elem()
			}
			v = v.Field(i)
		}
		fill(t, name, v)
		key := string(c.AppendKey(nil))
		switch other, taken := seen[key]; {
		case notInKey[name] && other != "no field":
			t.Errorf("%s makes another probe", name)
		case !notInKey[name] && taken:
			t.Errorf("%s and %s have one key", name, other)
		}
		if !notInKey[name] {
			seen[key] = name
		}
	}
	for i, f := range fields(plain) {
		if f.Name != "TLS" {
			vary(f.Name, i)
			continue
		}
		for j, inner := range fields(*plain.TLS) {
			vary("TLS."+inner.Name, i, j)
		}
	}
	for name, change := range map[string]func(c *Check){
		"no TLS":                  func(c *Check) { c.TLS = nil },
		"port":                    func(c *Check) { c.Address = netip.MustParseAddrPort("192.0.2.1:81") },
		"another header":          func(c *Check) { c.Headers = map[string]string{"x": "y"} },
		"two ranges":              func(c *Check) { c.Status = []StatusRange{{200, 204}, {300, 300}} },
		"a step that expects":     func(c *Check) { c.Steps = []Step{{Expect: "x"}} },
		"a password":              func(c *Check) { c.Dialogue = &dialogue.Settings{Password: "x"} },
		"a secret":                func(c *Check) { c.Dialogue = &dialogue.Settings{Secret: "x"} },
		"a role":                  func(c *Check) { c.Dialogue = &dialogue.Settings{Role: "x"} },
		"a drain":                 func(c *Check) { c.Response = &Response{DrainHeader: "x"} },
		"JSON":                    func(c *Check) { c.Response = &Response{JSON: map[string]string{"x": "x"}} },
		"an empty argument first": func(c *Check) { c.Command = []string{"", "x"} },
	} {
		c := plain
		change(&c)
		key := string(c.AppendKey(nil))
		if other, taken := seen[key]; taken {
			t.Errorf("%s and %s have one key", name, other)
		}
		seen[key] = name
	}
}

func fields(of any) []reflect.StructField { return reflect.VisibleFields(reflect.TypeOf(of)) }

// fill makes a value other than the zero value.
func fill(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.1")))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort("192.0.2.1:80")))
		return
	case *x509.CertPool:
		v.Set(reflect.ValueOf(x509.NewCertPool()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint32:
		v.SetUint(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, name, v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"x": "x"}))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, name, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	default:
		t.Fatalf("%s: no value of %v", name, v.Type())
	}
}
