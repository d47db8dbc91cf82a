package host

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lvsd/config"
)

// TestWhoReads: by owner, group or others, and through every folder.
func TestWhoReads(t *testing.T) {
	folder := t.TempDir()
	for dir := folder; dir != filepath.Dir(dir) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(folder, "key")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const other = 54321
	owner, group, others := identity{uid: uint32(os.Getuid())}, identity{uid: other, gids: []uint32{7, uint32(os.Getgid())}}, identity{uid: other, gids: []uint32{7}}
	for _, c := range []struct {
		mode, folder os.FileMode
		who          identity
		want         string // of the error; "": it reads
	}{
		{0o600, 0o711, owner, ""}, {0o600, 0o711, group, "chown lvsd"}, {0o600, 0o711, others, "mode 0600"},
		{0o640, 0o711, group, ""}, {0o640, 0o711, others, "mode 0640"}, {0o644, 0o711, others, ""},
		{0o604, 0o711, group, "mode 0604"}, // the group's bits count for it alone
		{0o644, 0o700, others, "folder " + folder}, {0o644, 0o710, group, ""},
	} {
		for path, mode := range map[string]os.FileMode{file: c.mode, folder: c.folder} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		if c.who.uid == 0 {
			continue // root reads everything
		}
		err := c.who.reads(file)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("mode %04o in %04o, user %d of %d: %v, want %q", c.mode, c.folder, c.who.uid, c.who.gids, err, c.want)
		}
	}
	if err := others.reads(filepath.Join(folder, "none")); err != nil {
		t.Errorf("a file that is missing: %v", err)
	}
}

// TestFilesOf: each file that is read is checked: every field with such a name, except that
// of a check of the type file, which needs no right to read it.
func TestFilesOf(t *testing.T) {
	var want []string
	var fill func(v reflect.Value, name string)
	fill = func(v reflect.Value, name string) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					fill(v.Field(i), name+"."+f.Name)
				}
			}
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0), name)
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), name)
		case reflect.String:
			if strings.HasSuffix(name, "File") && !strings.HasSuffix(name, ".CheckSettings.File") || strings.HasSuffix(name, "TrackFiles.Path") {
				v.SetString("/" + name)
				want = append(want, v.String())
			}
		}
	}
	var c config.Config
	fill(reflect.ValueOf(&c).Elem(), "config")
	got := filesOf(&c)
	for _, file := range want {
		if !slices.Contains(got, file) {
			t.Errorf("%s is not checked", file)
		}
	}
	if len(want) < 12 {
		t.Errorf("only %q", want)
	}
	web := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(web, []byte("tls_server_config: { cert_file: c.pem, key_file: /etc/k.pem, client_ca_file: sub/ca.pem }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(web)
	if got, want := filesOf(&config.Config{Global: config.Global{WebConfigFile: web}}), []string{web, folder + "/c.pem", "/etc/k.pem", folder + "/sub/ca.pem"}; !slices.Equal(got, want) {
		t.Errorf("files of web_config_file: %q, want %q", got, want)
	}
	if twice := (&config.Config{File: "/f", Global: config.Global{WebConfigFile: "/f"}}); len(filesOf(twice)) != 1 {
		t.Errorf("%q", filesOf(twice))
	}
}
