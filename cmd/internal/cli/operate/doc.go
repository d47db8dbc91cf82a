// Package operate has the commands by which an operator changes a running director: plan
// and reload, drain, undrain and weight, which edit the file, drained, handover, zero.
package operate
