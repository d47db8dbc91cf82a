// Package include joins the files of a configuration into one text, and finds the file and
// line behind a line of it.
//
//	lvsd.toml        include = ["conf.d/*.toml"]
//	conf.d/web.toml  [[virtual_service]] …
//
//	lvsd.toml's text
//	# lvsd include: "conf.d/web.toml"
//	conf.d/web.toml's text
//
// The joined text is a configuration by itself: it has a hash, it is what the daemon keeps
// of what runs, and no other package knows of several files. Reading them is the business
// of the caller.
package include
