package peers

import (
	"encoding/json"
	"fmt"
	"testing"
)

// BenchmarkTenThousandServers states what a second of the exchange costs a director
// with 10,000 real servers, beside gathering them: their digest, and what is said
// and read of them while all are seen alike.
func BenchmarkTenThousandServers(b *testing.B) {
	var services []ServiceHealth
	for i := range 100 {
		svc := ServiceHealth{Name: fmt.Sprint("s", i)}
		for j := range 100 {
			svc.Servers = append(svc.Servers, ServerHealth{Address: fmt.Sprintf("10.1.%d.%d:80", i, j), Health: "up", Weight: 1})
		}
		services = append(services, svc)
	}
	for b.Loop() {
		s := State{Health: NewHealth(services)}
		s.Health.Services = nil
		text, err := json.Marshal(reply{From: "lb2", To: "lb1", State: &s})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := parseReply(text, howAreYou); err != nil {
			b.Fatal(err)
		}
	}
}
