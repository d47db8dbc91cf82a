// Package archtest has the rules of docs/design.md that the compiler does not check,
// as tests: which packages import each other, what pure files may name, how large a
// folder is, where documentation stands, and which words must not come back.
package archtest
