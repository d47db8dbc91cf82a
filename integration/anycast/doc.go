// Package anycast tests directors that serve the same addresses at once, behind a router,
// with BIRD and FRR: who announces, what clients see when that changes, and what a director
// leaves behind. The configurations are those of docs/guides/anycast.md.
package anycast
