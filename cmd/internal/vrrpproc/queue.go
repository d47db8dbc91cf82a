package vrrpproc

import "sync"

// telemetryLimit is how many reports that nothing waits for may be queued.
const telemetryLimit = 1024

// reportQueue holds reports until the parent reads them. Telemetry (status, events,
// lateness) is dropped where the parent does not read; a report that the parent waits for
// never is, and there are no more of these than orders. The zero value is empty.
type reportQueue struct {
	mu        sync.Mutex
	more      chan struct{} // has a value when there is something to take
	list      []report
	telemetry int
	dropping  bool
}

// ready returns the channel that signals reports. The caller holds the lock.
func (q *reportQueue) ready() chan struct{} {
	if q.more == nil {
		q.more = make(chan struct{}, 1)
	}
	return q.more
}

// put queues a report. First: it is the first one that is dropped since the last take.
func (q *reportQueue) put(r report) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !r.control() {
		if q.telemetry >= telemetryLimit {
			first, q.dropping = !q.dropping, true
			return first
		}
		q.telemetry++
	}
	q.list = append(q.list, r)
	select {
	case q.ready() <- struct{}{}:
	default:
	}
	return false
}

// drain waits for reports and takes them all. Dropped: some were dropped since the last.
func (q *reportQueue) drain() (all []report, dropped bool) {
	q.mu.Lock()
	ready := q.ready()
	q.mu.Unlock()
	<-ready
	q.mu.Lock()
	defer q.mu.Unlock()
	all, dropped = q.list, q.dropping
	q.list, q.telemetry, q.dropping = nil, 0, false
	return all, dropped
}
