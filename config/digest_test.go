package config

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestDigestsOfOneFile: a changed weight is seen in the digest of its service
// and in no other one; what other services are made of is seen in all.
func TestDigestsOfOneFile(t *testing.T) {
	base := farm(60)
	digests := func(text string) (all []string) {
		t.Helper()
		for _, s := range load(t, text, "lb1").Services {
			if s.Digest == "" {
				t.Fatalf("service %s has none", s.Name)
			}
			all = append(all, s.Digest)
		}
		return all
	}
	was := digests(base)
	for name, c := range map[string]struct {
		text string
		same []bool
	}{
		"nothing":              {base, []bool{true, true, true}},
		"a weight":             {strings.Replace(base, "10.1.0.25\", weight = 7", "10.1.0.25\", weight = 8", 1), []bool{true, false, true}},
		"a line more":          {strings.Replace(base, "  { address = \"10.1.0.25", "\n  { address = \"10.1.0.25", 1), []bool{true, false, false}},
		"a setting before all": {strings.Replace(base, "[[virtual_service]]", "[ipvs]\ntimeout_tcp = \"7m\"\n[[virtual_service]]", 1), []bool{false, false, false}},
		"a setting after all":  {base + "[guard]\nwitnesses = [\"10.0.0.1\"]\n", []bool{false, false, false}},
	} {
		now := digests(c.text)
		for i, same := range c.same {
			if (now[i] == was[i]) != same {
				t.Errorf("%s: service %d has the digest of before: %v, want %v", name, i, !same, same)
			}
		}
	}
	// Written as a value, they have none.
	inline := load(t, "virtual_service = [{ name = \"a\", address = \"10.0.0.88:80\", real_servers = [{ address = \"10.0.0.9:80\" }] }]\n", "lb1")
	if inline.Services[0].Digest != "" {
		t.Error("a service that is no table of its own has a digest")
	}
}

// TestEqualDigestsMeanEqualServices cuts and pastes lines of good files: of two
// texts that are accepted, services with one digest are equal in everything.
func TestEqualDigestsMeanEqualServices(t *testing.T) {
	files, err := filepath.Glob("testdata/good-*.toml")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var parts []string
		for range 2 {
			text, err := os.ReadFile(files[r.IntN(len(files))])
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, string(text))
		}
		parts = append(parts, farm(25))
		text := strings.Join(parts, "\n")
		known := map[string]Service{}
		for range 40 {
			lines := strings.SplitAfter(text, "\n")
			if i, j := r.IntN(len(lines)), r.IntN(len(lines)); r.IntN(2) == 0 {
				lines[i], lines[j] = lines[j], lines[i]
			} else {
				lines[i] = strings.Replace(lines[i], "1", "2", 1)
			}
			next := strings.Join(lines, "")
			f, err := Parse("f", []byte(next))
			if err != nil {
				continue
			}
			text = next
			for _, s := range f.services {
				if s.Digest == "" {
					continue
				}
				if was, ok := known[s.Digest]; ok && !reflect.DeepEqual(was, s) {
					t.Fatalf("one digest, two services:\n%+v\n%+v\nin\n%s", was, s, text)
				}
				known[s.Digest] = s
			}
		}
	}
}
