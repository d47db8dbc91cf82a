// This file tells that something about an interface or its addresses changed. It
// never says what: whoever is told looks again.

package link

import "context"

// Watch calls changed after everything that may concern the interface, or may
// have been missed, until ctx ends. changed must not block. Who needs certainty
// looks from time to time besides.
func (p *Port) Watch(ctx context.Context, changed func()) { p.cache.watch(ctx, p.sub, changed) }
