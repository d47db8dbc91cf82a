package preview

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"lvsd/config"
)

// fields lists the differences between two values of one type under the names of their
// configuration keys, below prefix, without the fields to skip. A new key needs nothing here.
func fields(prefix string, old, next any, skip map[string]bool) []Change {
	return differ(prefix, reflect.ValueOf(old), reflect.ValueOf(next), skip)
}

var (
	positionType = reflect.TypeFor[config.Position]()
	plainStructs = []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[netip.Prefix]()}
)

func differ(name string, a, b reflect.Value, skip map[string]bool) []Change {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return nil
	}
	switch {
	case a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		return differ(name, a.Elem(), b.Elem(), skip)
	case a.Kind() != reflect.Struct || slices.Contains(plainStructs, a.Type()):
		from, to := text(a), text(b)
		if from == to { // a position in the file, or a value that is not shown
			from, to = "as it was", "changed"
		}
		return []Change{{name, from, to}}
	}
	var all []Change
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if !f.IsExported() || f.Type == positionType || skip[f.Name] {
			continue
		}
		if f.Anonymous { // its keys are those of the table
			all = append(all, differ(name, a.Field(i), b.Field(i), skip)...)
			continue
		}
		inner := key(f.Name)
		if name != "" {
			inner = name + "." + inner
		}
		if secret[f.Name] {
			if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				all = append(all, Change{inner, "as it was", "changed"})
			}
			continue
		}
		all = append(all, differ(inner, a.Field(i), b.Field(i), skip)...)
	}
	return all
}

// secret are fields that may contain a password.
var secret = map[string]bool{"Headers": true, "Body": true, "Send": true, "Steps": true, "Webhook": true}

// text is a value for people; an empty one is "none".
func text(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case netip.Addr:
		if !x.IsValid() {
			return "none"
		}
	case netip.AddrPort:
		if !x.IsValid() {
			return "none"
		}
	}
	if s, ok := v.Interface().(fmt.Stringer); ok && v.Kind() != reflect.Pointer {
		return s.String()
	}
	switch v.Kind() {
	case reflect.String:
		if v.Len() == 0 {
			return "none"
		}
		return v.String()
	case reflect.Slice, reflect.Array:
		if v.Len() == 0 {
			return "none"
		}
		var parts []string
		for i := range v.Len() {
			parts = append(parts, text(v.Index(i)))
		}
		return strings.Join(parts, " ")
	case reflect.Pointer:
		if v.IsNil() {
			return "none"
		}
		return text(v.Elem())
	case reflect.Struct:
		var parts []string
		for i := range v.NumField() {
			switch f := v.Type().Field(i); {
			case !f.IsExported() || f.Type == positionType || v.Field(i).IsZero():
			case secret[f.Name]:
				parts = append(parts, key(f.Name)+" …")
			default:
				parts = append(parts, key(f.Name)+" "+text(v.Field(i)))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v.Interface())
}

// keys are the configuration keys that do not follow from a field's name.
var keys = map[string]string{
	"VRID": "virtual_router_id", "Excluded": "excluded_addresses", "FWMark": "fwmark", "IPv6": "family", "UseTLS": "tls",
	"DNSName": "name", "DNSRecord": "record", "DNSRcode": "rcode", "DNSAnswer": "answer", "DNSTCP": "tcp",
	"GRPCService": "service", "IPVS": "ipvs", "HTTP2": "http2", "BodyExpect": "expect", "HostName": "address",
	"MaxLen": "maxlen", "Exchange": "peers", "ProbeMarkBase": "through_marks", "VirtualMAC": "virtual_mac", "SyncGroups": "sync_group", "Login": "user", "StartTLS": "starttls",
	"DrainStatus": "drain_on", "DrainHeader": "drain_on", "DrainMatch": "drain_on",
}

// key turns a field's name into its configuration key: "HTTPListen" into "http_listen".
func key(field string) string {
	if k, ok := keys[field]; ok {
		return k
	}
	var b strings.Builder
	letters := []rune(field)
	for i, r := range letters {
		upper := unicode.IsUpper(r)
		if upper && i > 0 && (!unicode.IsUpper(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
