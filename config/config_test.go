package config

import (
	"os"
	"testing"
)

func TestTry(t *testing.T) {
	b, err := os.ReadFile(os.Getenv("TRY"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("x.toml", b)
	if err != nil {
		t.Fatal("\n" + err.Error())
	}
	for _, w := range f.Warnings {
		t.Log(w)
	}
	c, err := f.For("lb1")
	t.Logf("%+v %v", c, err)
}
