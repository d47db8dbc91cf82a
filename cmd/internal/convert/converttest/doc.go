// Package converttest has what the tests of the converters share.
package converttest
