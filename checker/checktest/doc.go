// Package checktest has the servers, certificates and helpers that the tests of
// package checker and of the packages below it share.
package checktest
