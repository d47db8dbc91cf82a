// Package tomlpos decodes TOML and keeps the position of every key and value, which
// the TOML library does not report. It cuts the text into sections, one for each
// header of the first level, whose digests show which of them changed.
//
// A text is scanned before the library decodes it. The scanner bounds the size, the
// nesting and the number of keys, because the library recurses into nested values
// and stores the full path of every key. Texts beyond the limits are refused.
package tomlpos
