package main

import (
	"os"
	"regexp"
	"testing"

	"lvsd/config"
)

// TestTheReadmesConfigurationIsGood takes the README at its word.
func TestTheReadmesConfigurationIsGood(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) == 0 {
		t.Fatal("the README shows no configuration")
	}
	for _, b := range blocks {
		file, err := config.Parse("README.md", b[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range file.Warnings {
			t.Error(w)
		}
		for _, d := range file.Directors {
			if _, err := file.For(d.Name); err != nil {
				t.Error(err)
			}
		}
	}
}
