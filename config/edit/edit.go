package edit

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"lvsd/config"
	"lvsd/config/schema"
	"lvsd/config/tomlpos"
)

// Server names a real server of a service, as status does: IP:PORT, or IP alone where the
// service has no port.
type Server struct{ Service, Address string }

// Change is an edit of a server.
type Change struct {
	Do     string    `json:"do"`               // "drain" "undrain" "weight"
	Until  time.Time `json:"until,omitzero"`   // of a drain; zero: until Undrain
	Weight int       `json:"weight,omitempty"` // 0 to 65535
}

// Apply returns the text with the change.
func (c Change) Apply(name, text string, s Server) (string, error) {
	switch c.Do {
	case "drain":
		return Drain(name, text, s, c.Until)
	case "undrain":
		return Undrain(name, text, s)
	case "weight":
		return Weight(name, text, s, c.Weight)
	}
	return "", fmt.Errorf("%q is not an edit", c.Do)
}

// Weight returns the text with another weight, 0 to 65535.
func Weight(name, text string, s Server, weight int) (string, error) {
	if weight < 0 || weight > math.MaxUint16 {
		return "", fmt.Errorf("a weight is 0 to %d, not %d", math.MaxUint16, weight)
	}
	return s.edit(name, text, setting{"weight", strconv.Itoa(weight)})
}

// Drain returns the text with the server drained, until a time or, where that is zero,
// until Undrain.
func Drain(name, text string, s Server, until time.Time) (string, error) {
	if until.IsZero() {
		return s.edit(name, text, setting{"drain_until", ""}, setting{"drain", "true"})
	}
	return s.edit(name, text, setting{"drain", ""}, setting{"drain_until", until.UTC().Format(time.RFC3339)})
}

// Undrain returns the text with the server no longer drained. A server whose weight is 0
// in the text is refused: what it was before is not known.
func Undrain(name, text string, s Server) (string, error) {
	after, err := s.edit(name, text, setting{"drain_until", ""}, setting{"drain", ""})
	if err != nil {
		return "", err
	}
	file, err := config.Parse(name, []byte(after))
	if err != nil {
		return "", err
	}
	service, server, err := s.find(file)
	if err != nil {
		return "", err
	}
	svc := services(file)[service]
	if rs := svc.RealServers[server]; rs.Weight == 0 {
		return "", fmt.Errorf("weight = 0 in %s drains %s too (line %d): set the weight that it should have, lvsd weight %s %s N",
			cmp.Or(svc.File, name), s.Address, rs.WeightPosition.Line, s.Service, s.Address)
	}
	return after, nil
}

// Drained reports whether a file drains a server at a time, whatever its weight.
func Drained(f *config.File, s Server, now time.Time) bool {
	service, server, err := s.find(f)
	if err != nil {
		return false
	}
	rs := services(f)[service].RealServers[server]
	return rs.Drain || rs.DrainUntil.After(now)
}

// setting is a key and its value as it is written; "" takes the key out.
type setting struct{ key, value string }

// edit applies settings to the server's entry.
func (s Server) edit(name, text string, settings ...setting) (string, error) {
	before, err := config.Parse(name, []byte(text))
	if err != nil {
		return "", err
	}
	service, server, err := s.find(before)
	if err != nil {
		return "", err
	}
	after := text
	for _, x := range settings {
		document, failed := tomlpos.Decode(after)
		if failed != nil {
			return "", fmt.Errorf("line %d: %s", failed.Line, failed.Message)
		}
		e := entry{text: after, node: document.Root.Get("virtual_service").Item(service).Get("real_servers").Item(server)}
		if x.value == "" {
			after = e.remove(x.key)
		} else {
			after = e.set(x.key, x.value)
		}
	}
	if _, err := config.Parse(name, []byte(after)); err != nil || !equalBut(text, after, service, server) {
		return "", fmt.Errorf("the entry of %s in %s is written in a way that cannot be edited by a command: edit the file", s.Address, s.Service)
	}
	return after, nil
}

// find returns the indices of the service and of the server.
func (s Server) find(f *config.File) (service, server int, err error) {
	all := services(f)
	var names []string
	for i, svc := range all {
		if svc.Name != s.Service {
			names = append(names, svc.Name)
			continue
		}
		names = nil
		for j, rs := range svc.RealServers {
			shown := rs.Address.String()
			if rs.Address.Port() == 0 {
				shown = rs.Address.Addr().String()
			}
			if shown == s.Address {
				return i, j, nil
			}
			names = append(names, shown)
		}
		return 0, 0, fmt.Errorf("service %s has no real server %q in the file%s", s.Service, s.Address, schema.Suggest(s.Address, names))
	}
	return 0, 0, fmt.Errorf("there is no service %q in the file%s", s.Service, schema.Suggest(s.Service, names))
}

// services are those of a file, in its order.
func services(f *config.File) []config.Service {
	director := ""
	if len(f.Directors) > 0 {
		director = f.Directors[0].Name
	}
	c, err := f.For(director)
	if err != nil { // of a director that the file names
		return nil
	}
	return c.Services
}

// equalBut reports whether two texts say the same, but for the weight and the drain of one
// server.
func equalBut(before, after string, service, server int) bool {
	was, is := othersThan(before, service, server), othersThan(after, service, server)
	return was != nil && reflect.DeepEqual(was, is)
}

// othersThan returns the values of a text without the weight and the drain of a server.
func othersThan(text string, service, server int) map[string]any {
	document, failed := tomlpos.Decode(text)
	if failed != nil {
		return nil
	}
	entry := item(item(document.Values["virtual_service"], service)["real_servers"], server)
	for _, key := range []string{"weight", "drain", "drain_until"} {
		delete(entry, key)
	}
	return document.Values
}

// item returns an element of an array of tables.
func item(array any, i int) map[string]any {
	switch all := array.(type) {
	case []map[string]any:
		return all[i]
	case []any:
		table, _ := all[i].(map[string]any)
		return table
	}
	return nil
}

// entry is a real server's table in the text.
type entry struct {
	text string
	node *tomlpos.Node
}

// inline reports whether the entry is { … }, and not below a header of its own.
func (e entry) inline() bool {
	return strings.HasPrefix(e.text[tomlpos.OffsetOf(e.text, e.node.Value):], "{")
}

// set returns the text with a key at a value.
func (e entry) set(key, value string) string {
	if n, is := e.node.Children[key]; is {
		begin := tomlpos.OffsetOf(e.text, n.Value)
		return e.text[:begin] + value + e.text[valueEnd(e.text, begin):]
	}
	after := e.node.Get("address")
	if n, is := e.node.Children["weight"]; is {
		after = n
	}
	end := valueEnd(e.text, tomlpos.OffsetOf(e.text, after.Value))
	if e.inline() {
		return e.text[:end] + ", " + key + " = " + value + e.text[end:]
	}
	begin, end := lineAround(e.text, tomlpos.OffsetOf(e.text, after.Key))
	line := e.text[begin:end]
	body := strings.TrimRight(line, "\r\n")
	ending := line[len(body):]
	indent := body[:len(body)-len(strings.TrimLeft(body, " \t"))]
	if ending == "" { // the last line of a text
		return e.text + lineEnding(e.text[:begin]) + indent + key + " = " + value
	}
	return e.text[:end] + indent + key + " = " + value + ending + e.text[end:]
}

// remove returns the text without a key.
func (e entry) remove(key string) string {
	n, is := e.node.Children[key]
	if !is {
		return e.text
	}
	begin := tomlpos.OffsetOf(e.text, n.Key)
	end := valueEnd(e.text, tomlpos.OffsetOf(e.text, n.Value))
	if !e.inline() {
		begin, end = lineAround(e.text, begin)
		if !strings.HasSuffix(e.text, "\n") && end == len(e.text) { // nor had the line before
			begin -= len(lineEnding(e.text[:begin]))
		}
		return e.text[:begin] + e.text[end:]
	}
	before := strings.TrimRight(e.text[:begin], " \t\r\n")
	rest := strings.TrimLeft(e.text[end:], " \t")
	switch {
	case strings.HasSuffix(before, ","):
		return before[:len(before)-1] + e.text[end:]
	case strings.HasPrefix(rest, ","):
		return e.text[:begin] + strings.TrimLeft(rest[1:], " \t")
	}
	return e.text[:begin] + e.text[end:]
}

// lineAround returns where the line at an offset begins and ends, its end included.
func lineAround(text string, at int) (begin, end int) {
	begin = strings.LastIndexByte(text[:at], '\n') + 1
	if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
		return begin, at + n + 1
	}
	return begin, len(text)
}

// lineEnding returns how the last line of some lines ends.
func lineEnding(lines string) string {
	if strings.HasSuffix(lines, "\r\n") {
		return "\r\n"
	}
	return "\n"
}

// valueEnd returns where a value ends: a string, a number, a boolean or a time.
func valueEnd(text string, begin int) int {
	quote := text[begin]
	if quote != '"' && quote != '\'' {
		end := len(text)
		if n := strings.IndexAny(text[begin:], ",}]#\r\n"); n >= 0 {
			end = begin + n
		}
		return begin + len(strings.TrimRight(text[begin:end], " \t"))
	}
	for i := begin + 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '"':
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}
