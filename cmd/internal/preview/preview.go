package preview

import (
	"time"

	"lvsd/cmd/internal/director"
	"lvsd/ipvs"
)

// Preview is what one configuration would change on one director, as `lvsd plan
// --json` prints it. Fields are only ever added.
type Preview struct {
	Director string    `json:"director"`
	At       time.Time `json:"at"`
	File     string    `json:"file"`
	Hash     string    `json:"hash,omitempty"` // of the file; "" where it has errors
	// Daemon: one is running here, so this is what a reload would do; otherwise what
	// a start would do.
	Daemon      bool   `json:"daemon"`
	RunningHash string `json:"running_hash,omitempty"`
	// Differs: something would change, in the kernel or in the daemon. A comment in
	// the file is no difference.
	Differs bool `json:"differs"`
	// Refused is why the configuration would be rejected; nothing would change then.
	Refused  []string `json:"refused"`
	Warnings []string `json:"warnings"`

	Services  []Service  `json:"virtual_services"` // those that change
	Instances []Instance `json:"vrrp"`             // those that change
	Announces []Announce `json:"announces"`        // those that change
	Settings  []Change   `json:"settings"`         // timeouts and sysctls of the kernel
	Sync      []Sync     `json:"sync"`
	Global    []Change   `json:"global"` // other settings of the daemon
	// Writes is how many writes to the kernel's table it would take.
	Writes int `json:"kernel_writes"`
	// Ending are the connections of servers that would be removed without a drain.
	Ending Connections `json:"ending_connections"`
}

// Change is one value that would change.
type Change struct {
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// Actions of services and real servers.
const (
	Add    = "add"
	Edit   = "change"
	Remove = "remove"
	// Drain: it leaves the file, gets no new connections, and is removed when its
	// connections have ended or drain_timeout is over.
	Drain = "drain"
)

// Service is what would change of a virtual service.
type Service struct {
	Name    string `json:"name"`
	OldName string `json:"was,omitempty"` // its name now, where that differs
	Service string `json:"service"`       // "tcp 10.0.0.88:80", "mark 7"
	Action  string `json:"action"`
	// Changes are those of the service itself, in the kernel and in what the
	// daemon does with it.
	Changes     []Change     `json:"changes"`
	Connections Connections  `json:"connections"` // of all its servers now
	RealServers []RealServer `json:"real_servers"`
	// Usable servers get new connections.
	UsableBefore int           `json:"live_before"`
	UsableAfter  int           `json:"live_after"`
	Checks       []CheckChange `json:"checks"`
	// RestartedChecks is how many of the remaining servers have checks that restart.
	RestartedChecks int      `json:"checks_anew"`
	Warnings        []string `json:"warnings"`
}

// RealServer is what would change of a real server in the kernel.
type RealServer struct {
	Address     string      `json:"address"`
	Action      string      `json:"action"`
	Changes     []Change    `json:"changes"`
	Connections Connections `json:"connections"`
	// InKernel: the kernel's table would hold it at once; Weight would be its
	// weight there, Configured is the file's.
	InKernel   bool `json:"in_kernel"`
	Weight     int  `json:"weight"`
	Configured int  `json:"configured_weight"`
	// Why is why the weight is below the configured one.
	Why string `json:"why,omitempty"`
	// DrainSeconds is how long a drain lasts at most.
	DrainSeconds float64 `json:"drain_seconds,omitempty"`
}

// CheckChange is one value of checks that would change, and for how many real servers.
type CheckChange struct {
	Change
	RealServers int `json:"real_servers"`
}

// Connections are the kernel's now.
type Connections struct {
	Active     uint32 `json:"active"`
	Inactive   uint32 `json:"inactive"`
	Persistent uint32 `json:"persistent"`
}

func (c *Connections) add(s ipvs.DestinationStats) {
	c.Active += s.Active
	c.Inactive += s.Inactive
	c.Persistent += s.Persistent
}

// Actions of instances.
const (
	Start   = "start"
	Restart = "restart"
	End     = "end"
)

// Instance is what would change of a VRRP instance.
type Instance struct {
	Name     string   `json:"name"`
	Replaces string   `json:"was,omitempty"` // the instance that it replaces on the same virtual router
	Action   string   `json:"action"`        // start, change, restart, end
	Changes  []Change `json:"changes"`
	State    string   `json:"state,omitempty"` // now
	HasVIPs  bool     `json:"holding"`         // its addresses are on this director now
	// Added and Removed are the addresses that a master would add and remove.
	Added   []string `json:"addresses_come"`
	Removed []string `json:"addresses_go"`
	// Takeover is how mastership would move; "" when it would not.
	Takeover string `json:"moves,omitempty"`
}

// Sync is what would change of one role of the connection sync.
type Sync struct {
	Role   string `json:"half"`   // master sends, backup receives
	Action string `json:"action"` // start, restart, end
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Why    string `json:"why,omitempty"`
}

// Refuse returns the preview of a configuration that does not parse.
func Refuse(name, file string, at time.Time, refused []string) Preview {
	p := empty()
	p.Director, p.File, p.At, p.Refused = name, file, at, refused
	return p
}

func empty() Preview {
	return Preview{Refused: []string{}, Warnings: []string{}, Services: []Service{}, Instances: []Instance{}, Announces: []Announce{},
		Settings: []Change{}, Sync: []Sync{}, Global: []Change{}}
}

// Build makes the preview of a dry run. Refused and warnings are lines already.
func Build(f director.DryRun, refused, warnings []string) Preview {
	p := empty()
	p.Director, p.At, p.File, p.Hash = f.Next.Director, f.At, f.Next.File, f.Next.Hash
	p.Refused = append(p.Refused, refused...)
	p.Warnings = append(p.Warnings, warnings...)
	if f.Running != nil {
		p.Daemon, p.RunningHash = true, f.Running.Hash
	}
	b := builder{DryRun: f, out: &p}
	b.services()
	b.instances()
	b.announces()
	for _, s := range f.Table.Settings {
		p.Settings = append(p.Settings, Change{s.Name, s.From, s.To})
	}
	for _, s := range f.Table.Sync {
		p.Sync = append(p.Sync, Sync{Role: s.Role.String(), Action: syncAction(s), From: s.From, To: s.To, Why: s.Why})
	}
	if f.Running != nil {
		p.Global = append(p.Global, fields("", *f.Running, *f.Next, notGlobal)...)
	}
	p.Writes = len(f.Table.Ops)
	p.Warnings = append(p.Warnings, f.Table.Problems...)
	p.Differs = p.Writes+len(p.Services)+len(p.Instances)+len(p.Announces)+len(p.Settings)+len(p.Sync)+len(p.Global) > 0
	return p
}

// notGlobal are the parts of a configuration that are shown elsewhere: the kernel's
// settings as the kernel has them.
var notGlobal = map[string]bool{"Director": true, "Directors": true, "Hash": true, "File": true, "Text": true,
	"Instances": true, "Announces": true, "Services": true, "TimeoutTCP": true, "TimeoutTCPFin": true, "TimeoutUDP": true, "Sync": true}

func syncAction(s ipvs.SyncChange) string {
	switch {
	case s.From == "":
		return Start
	case s.To == "":
		return End
	}
	return Restart
}
