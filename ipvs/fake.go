// A kernel in memory for tests, which behaves as the real one.

package ipvs

// Fake is a Kernel in memory.
type Fake struct{ Kernel }

// NewFake returns an empty kernel that has all schedulers.
func NewFake() *Fake { return &Fake{} }
