// Package measure has what the benchmarks share: it runs a function in the lab as the
// main of a program, describes the machine, and reads what a process has used.
package measure
