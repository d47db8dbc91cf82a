package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/config/tomlpos"
)

// TestHostile: texts made to cost time, stack or memory are refused, and the
// refusal is one line, or a bounded list.
func TestHostile(t *testing.T) {
	repeat := strings.Repeat
	for _, c := range []struct{ name, text, want string }{
		{"too large", repeat(" ", tomlpos.MaxText+1), "1:1: too large"},
		{"nested arrays", "a = " + repeat("[", tomlpos.MaxText/2), "1:68: nested deeper than 64 levels"},
		{"nested tables", "a = " + repeat("{a=", 1<<20), "nested deeper than 64 levels"},
		{"nested headers", "[" + repeat("a.", 1<<20) + "a]", "nested deeper than 64 levels"},
		{"nested keys", repeat("a.", 1<<20) + "a = 1", "nested deeper than 64 levels"},
		{"long header and many keys", "[" + repeat("a", 1<<20) + "]\n" + numbered(1<<19), "too many keys and values"},
		{"many headers", repeat("[[a]]\n", 1<<21), "too many keys and values"},
		{"many values", "a = [" + repeat("1,", 1<<22) + "]", "too many keys and values"},
		{"many unknown keys", "[global]\n" + numbered(1<<17), "and 130072 more mistakes, not listed"},
		{"one long line", "a = \"" + repeat("x", tomlpos.MaxText/2) + "\"", "unknown key"},
		{"zeros", repeat("\x00", 1<<20), "control character"},
		{"quotes", repeat(`"`, 1<<20), "not valid TOML"},
		{"open string", `a = """` + repeat("x\n", 1<<20), "not valid TOML"},
		{"many directors", repeat("[[director]]\nname = \"a\"\n", 1000), "1000 directors are more than the 64"},
	} {
		_, err := Parse("f", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v", c.name, err)
			continue
		}
		if n := strings.Count(err.Error(), "\n"); n > 1000 {
			t.Errorf("%s: %d lines", c.name, n)
		}
	}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d=1\n", i)
	}
	return b.String()
}

// FuzzParse: never a panic, and either a configuration for every director, or
// mistakes with a place that is in the text and a message.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(files, reference) {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		sane(t, text)
		sane(t, text)
	})
}

// sane checks what FuzzParse promises for one text.
func sane(t *testing.T, text string) {
	file, err := Parse("f", []byte(text))
	if err == nil {
		for _, d := range append(file.Directors, Director{}) {
			if c, err := file.For(d.Name); err != nil && d.Name != "" || err == nil && c == nil {
				t.Errorf("%q: %v", d.Name, err)
			}
		}
		return
	}
	lines := strings.Split(text, "\n")
	last := Position{}
	for _, e := range err.(Errors) {
		if e.Line < last.Line || e.Line == last.Line && e.Col < last.Col {
			t.Errorf("%v is not in order", e)
		}
		last = e.Position
		if e.Line < 1 || e.Line > len(lines) || e.Col < 1 || e.Col > len(lines[e.Line-1])+1 || e.Message == "" {
			t.Errorf("%v is outside of %q", e, text)
		}
	}
}

// farm is a file with n real servers, twenty a service.
func farm(n int) string {
	var b strings.Builder
	b.WriteString("[[vrrp]]\nname = \"vips\"\ninterface = \"eth0\"\nvirtual_router_id = 51\naddresses = [\"10.0.0.88\"]\n")
	for i := range n {
		if i%20 == 0 {
			if i > 0 {
				b.WriteString("]\n")
			}
			fmt.Fprintf(&b, "\n[[virtual_service]]\nname = \"s%d\"\naddress = \"10.0.0.88:%d\"\nscheduler = \"wrr\"\n"+
				"check = { type = \"http\", path = \"/healthz\" }\nreal_servers = [\n", i/20, 1000+i/20)
		}
		fmt.Fprintf(&b, "  { address = \"10.1.%d.%d\", weight = %d },\n", i/250, 1+i%250, 1+i%9)
	}
	b.WriteString("]\n")
	return b.String()
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 37_205} {
		text := []byte(farm(n))
		b.Run(fmt.Sprint("servers=", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse("f", text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParseMany has services of one server each, and VRRP instances of one address.
func BenchmarkParseMany(b *testing.B) {
	service := "\n[[virtual_service]]\nname = \"s%d\"\naddress = \"10.0.0.88:%d\"\nreal_servers = [{ address = \"10.1.0.1\" }]\n"
	instance := "\n[[vrrp]]\nname = \"v%d\"\ninterface = \"eth%[1]d\"\nvirtual_router_id = 51\npriority = 100\naddresses = [\"10.2.%d.%d\"]\n"
	for _, n := range []int{100, 1000, 10_000} {
		var services, instances strings.Builder
		for i := range n {
			fmt.Fprintf(&services, service, i, 1000+i)
			fmt.Fprintf(&instances, instance, i, i/250, i%250+1)
		}
		for name, text := range map[string]string{"services": services.String(), "instances": instances.String()} {
			b.Run(fmt.Sprintf("%s=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Parse("f", []byte(text)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkParseOneLine is the same with all real servers in one line of one
// service, where anything that looks backwards would be quadratic.
func BenchmarkParseOneLine(b *testing.B) {
	for _, n := range []int{10_000, 37_205} {
		var s strings.Builder
		s.WriteString("[[virtual_service]]\nname = \"s\"\naddress = \"10.0.0.88:80\"\nreal_servers = [")
		for i := range n {
			fmt.Fprintf(&s, "{ address = \"10.1.%d.%d\", weight = 1, check = { type = \"http\", expect = \"ok%d\" } }, ", i/250, 1+i%250, i%100)
		}
		s.WriteString("]\n")
		text := []byte(s.String())
		b.Run(fmt.Sprint("servers=", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse("f", text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
