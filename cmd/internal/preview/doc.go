// Package preview describes what a reload or a start would change, for people and as
// JSON: `lvsd plan`. The director and the reconciler compute it (director.DryRun); this
// package reads no kernel, decides nothing and changes nothing.
//
//	new file, state now ─► director.DryRun ─► ipvs.Forecast ─┐
//	                                                         ├► preview.Build ─► text, JSON
//	old configuration, new configuration ────────────────────┘
package preview
