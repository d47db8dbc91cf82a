// Package preview words what a reload or a start would change, for people and as JSON:
// `lvsd plan`. The director and the control layer compute it (director.DryRun); this
// package reads no kernel, decides nothing and changes nothing.
package preview
