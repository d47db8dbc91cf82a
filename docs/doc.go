// Package docs carries the parts of the documentation that the program prints.
package docs
