package peers

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestAPeersReplyIsBounded: what a peer with the key sends neither takes much memory
// to decode, nor keeps it.
func TestAPeersReplyIsBounded(t *testing.T) {
	q := question{From: "lb1", To: "lb2", Want: wantState}
	many := func(list, element string, n int) []byte {
		return fmt.Appendf(nil, `{"from":"lb2","to":"lb1","state":{%q:[%s]}}`, list, strings.TrimSuffix(strings.Repeat(element+",", n), ","))
	}
	for name, body := range map[string][]byte{
		"elections": many("elections", "{}", 2_500_000), "problems": many("problems", `""`, 2_500_000),
		"services": fmt.Appendf(nil, `{"from":"lb2","to":"lb1","state":{"health":{"services":[%s{}]}}}`, bytes.Repeat([]byte("{},"), 2_500_000)),
	} {
		if len(body) > maxResponse {
			t.Fatalf("%s: %d octets are refused anyway", name, len(body))
		}
		if _, err := parseReply(body, q); !errors.Is(err, errTooMany) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Commas within strings are no values, and quotes may be escaped.
	if _, err := parseReply(many("problems", `"`+strings.Repeat(`,\"[{`, 100_000)+`"`, 3), q); err != nil {
		t.Error(err)
	}
	before := alive()
	r, err := parseReply(many("problems", `"`+strings.Repeat("x", 20)+`"`, 300_000), q)
	if err != nil {
		t.Fatal(err)
	}
	if kept := alive() - before; kept > 1<<20 {
		t.Errorf("%d octets stay in memory for %d problems", kept, len(r.State.Problems))
	}
	runtime.KeepAlive(r)
}

// alive is the heap after a collection.
func alive() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
