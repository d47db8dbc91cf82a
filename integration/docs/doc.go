// Package docs runs the commands and configuration files of the documentation as
// they are written there.
package docs
