package config

import (
	"reflect"
	"strings"
	"testing"

	"lvsd/config/include"
)

// joinedText is a configuration of three files.
func joinedText(t *testing.T, first string, others ...string) string {
	t.Helper()
	var pieces []include.Piece
	for i, text := range others {
		pieces = append(pieces, include.Piece{Name: "conf.d/" + string(rune('a'+i)) + ".toml", Text: text})
	}
	text, err := include.Join("/etc/lvsd/lvsd.toml", "include = [\"conf.d/*.toml\"]\n"+first, pieces)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const (
	webPiece = "# the web\n[[virtual_service]]\nname = \"web\"\naddress = \"10.0.0.88:80\"\nreal_servers = [\n  { address = \"10.0.0.9:80\", weight = 2 },\n]\n"
	dnsPiece = "[[vrrp]]\nname = \"dns\"\ninterface = \"eth0\"\nvirtual_router_id = 53\naddresses = [\"10.0.0.88\", \"10.0.0.53\"]\n" +
		"[[virtual_service]]\nname = \"dns\"\naddress = \"10.0.0.53:53\"\nprotocol = \"udp\"\ncheck = { type = \"connect\" }\nreal_servers = [{ address = \"10.0.0.9:53\" }]\n"
)

// TestIncludedFiles: what was built names its file and the line there.
func TestIncludedFiles(t *testing.T) {
	f, err := Parse("/etc/lvsd/lvsd.toml", []byte(joinedText(t, "", webPiece, dnsPiece)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.For("")
	if err != nil {
		t.Fatal(err)
	}
	web, dns := c.Services[0], c.Services[1]
	if web.File != "/etc/lvsd/conf.d/a.toml" || web.Line != 2 || web.RealServers[0].WeightPosition.Line != 6 || web.RealServers[0].Checks[0].Line == 0 {
		t.Errorf("%+v", web)
	}
	if dns.File != "/etc/lvsd/conf.d/b.toml" || dns.Line != 6 || c.Instances[0].File != dns.File || c.Instances[0].Line != 1 {
		t.Errorf("%+v\n%+v", dns, c.Instances)
	}
}

// TestMistakesInIncludedFiles: an error names the file, the line there, and the file that
// it refers to; so does a warning.
func TestMistakesInIncludedFiles(t *testing.T) {
	first := "[[vrrp]]\nname = \"web\"\ninterface = \"eth0\"\nvirtual_router_id = 51\naddresses = [\"10.0.0.88\"]\n"
	for text, want := range map[string]string{
		joinedText(t, first, webPiece, strings.Replace(webPiece, "10.0.0.88:80", "10.0.0.88:81", 1)): `/etc/lvsd/conf.d/b.toml:3:8: virtual_service[1].name: "web" is the name of the service at line 3 of /etc/lvsd/conf.d/a.toml already`,
		joinedText(t, first, strings.Replace(webPiece, "weight = 2", "wieght = 2", 1)):               `/etc/lvsd/conf.d/a.toml:6:30: virtual_service[0].real_servers[0].wieght: unknown key; did you mean weight?`,
		joinedText(t, first, webPiece, dnsPiece):                                                     `/etc/lvsd/conf.d/b.toml:5:14: vrrp[1].addresses[0]: 10.0.0.88 is in the [[vrrp]] at line 6 of /etc/lvsd/lvsd.toml already`,
	} {
		f, err := Parse("/etc/lvsd/lvsd.toml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || f != nil {
			t.Errorf("%v\nwant\n%s", err, want)
		}
	}
	f, err := Parse("/etc/lvsd/lvsd.toml", []byte(joinedText(t, first, "# no server yet\n[[virtual_service]]\nname = \"web\"\naddress = \"10.0.0.88:80\"\nreal_servers = []\n")))
	if err != nil || len(f.Warnings) != 1 || !strings.HasPrefix(f.Warnings[0].Error(), "/etc/lvsd/conf.d/a.toml:2:1: ") {
		t.Errorf("%v, %v", err, f.Warnings)
	}
}

// TestIncludedFilesIncrementally: an edit of an included file is the same parsed alone or
// after the text before, and so is a file that gets another name.
func TestIncludedFilesIncrementally(t *testing.T) {
	before, err := Parse("/etc/lvsd/lvsd.toml", []byte(joinedText(t, "", webPiece, dnsPiece)))
	if err != nil {
		t.Fatal(err)
	}
	edited := joinedText(t, "", strings.Replace(webPiece, "weight = 2", "weight = 3", 1), dnsPiece)
	if before.reparse(before.Name, []byte(edited)) == nil {
		t.Error("an edit of a weight parses everything")
	}
	for _, text := range []string{edited, strings.Replace(edited, "conf.d/b.toml", "conf.d/c.toml", 1)} {
		after, err := ParseAfter(before, before.Name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		whole, err := Parse(before.Name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(after, whole) {
			t.Errorf("after the text before:\n%+v\nalone:\n%+v", after, whole)
		}
	}
}
