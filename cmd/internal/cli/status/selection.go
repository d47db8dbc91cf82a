// This file selects and orders the services of a status. With many real servers only
// those with problems are shown by default.

package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
)

// Selection is what to show.
type Selection struct {
	Services  []string
	unhealthy bool
	all       bool
	sort      string
}

// screenful is how many real servers are shown by default.
const screenful = 50

var orders = []string{"file", "name", "health", "connections"}

// Flags adds the flags of a selection to a command.
func (w *Selection) Flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&w.Services, "service", nil, "show only these virtual services (`NAME`, also as an argument)")
	cmd.Flags().BoolVar(&w.unhealthy, "unhealthy", false, "show only real servers that do not serve with their full weight, and their services")
	cmd.Flags().BoolVar(&w.all, "all", false, fmt.Sprintf("show all real servers (default: of more than %d only the unhealthy)", screenful))
	cmd.Flags().StringVar(&w.sort, "sort", orders[0], "the order of services and real servers: "+strings.Join(orders, ", "))
}

// named is how many services can be requested from the daemon; above that, all are.
const named = 16

// Check returns what is invalid in the flags and arguments.
func (w *Selection) Check(cmd *cobra.Command, args []string) error {
	if err := cobra.MaximumNArgs(named)(cmd, args); err != nil {
		return err
	}
	if !slices.Contains(orders, w.sort) {
		return fmt.Errorf("--sort must be one of %s, not %q", strings.Join(orders, ", "), w.sort)
	}
	return nil
}

// Apply reduces a status to the selection. The note says what is hidden and how to show
// it. The original status is not modified.
func (w Selection) Apply(s *api.Status) (note string, err error) {
	s.Services = slices.Clone(s.Services)
	for i := range s.Services {
		s.Services[i].RealServers = slices.Clone(s.Services[i].RealServers)
	}
	if err := w.choose(s); err != nil {
		return "", err
	}
	servers := 0
	for _, svc := range s.Services {
		servers += len(svc.RealServers)
	}
	if w.unhealthy || !w.all && len(w.Services) == 0 && servers > screenful {
		left := onlyWithProblems(s)
		if hidden := servers - left; hidden > 0 {
			note = fmt.Sprintf("%d of %d real servers are healthy and hidden", hidden, servers)
			if !w.unhealthy {
				note += " (use --all or name a service)"
			}
		}
	}
	w.order(s)
	return note, nil
}

// choose keeps the named services.
func (w Selection) choose(s *api.Status) error {
	if len(w.Services) == 0 {
		return nil
	}
	var names []string
	for _, svc := range s.Services {
		names = append(names, svc.Name)
	}
	for _, name := range w.Services {
		if !slices.Contains(names, name) {
			return api.UnknownService(name, names)
		}
	}
	s.Services = slices.DeleteFunc(s.Services, func(svc api.ServiceStatus) bool { return !slices.Contains(w.Services, svc.Name) })
	return nil
}

// onlyWithProblems keeps what needs attention, and returns how many servers are hidden.
func onlyWithProblems(s *api.Status) (left int) {
	for i := range s.Services {
		svc := &s.Services[i]
		svc.RealServers = slices.DeleteFunc(svc.RealServers, func(rs api.RealServerStatus) bool { return serverRank(rs) == rankHealthy })
		left += len(svc.RealServers)
	}
	s.Services = slices.DeleteFunc(s.Services, func(svc api.ServiceStatus) bool {
		return len(svc.RealServers) == 0 && serviceRank(svc) == rankHealthy
	})
	return left
}

// Ranks, worst first.
const (
	rankBroken = iota
	rankDegraded
	rankReduced
	rankDraining
	rankHealthy
)

// serverRank is the rank of a server.
func serverRank(rs api.RealServerStatus) int {
	switch {
	case rs.Health == "down":
		return rankBroken
	case rs.Health != "up", rs.Unchecked != "":
		return rankDegraded
	case rs.Draining:
		return rankDraining
	case rs.Weight == nil || *rs.Weight != rs.Configured:
		return rankReduced
	}
	return rankHealthy
}

// serviceRank is the rank of a service with all its servers.
func serviceRank(svc api.ServiceStatus) int {
	switch {
	case !svc.Up || svc.Fallback != nil && svc.Fallback.Active:
		return rankBroken
	case svc.Panic:
		return rankDegraded
	}
	worst := rankHealthy
	for _, rs := range svc.RealServers {
		if rank := serverRank(rs); rank < worst {
			worst = max(rank, rankReduced)
		}
	}
	return worst
}

// order sorts services and servers.
func (w Selection) order(s *api.Status) {
	var services func(a, b api.ServiceStatus) int
	var servers func(a, b api.RealServerStatus) int
	switch w.sort {
	case "name":
		services = func(a, b api.ServiceStatus) int { return strings.Compare(a.Name, b.Name) }
		servers = func(a, b api.RealServerStatus) int { return compareAddresses(a.Address, b.Address) }
	case "health":
		services = func(a, b api.ServiceStatus) int { return cmp.Compare(serviceRank(a), serviceRank(b)) }
		servers = func(a, b api.RealServerStatus) int { return cmp.Compare(serverRank(a), serverRank(b)) }
	case "connections":
		services = func(a, b api.ServiceStatus) int { return cmp.Compare(activeOf(b), activeOf(a)) }
		servers = func(a, b api.RealServerStatus) int { return cmp.Compare(b.Active, a.Active) }
	default:
		return
	}
	for i := range s.Services {
		slices.SortStableFunc(s.Services[i].RealServers, servers)
	}
	slices.SortStableFunc(s.Services, services)
}

func activeOf(svc api.ServiceStatus) (sum uint64) {
	for _, rs := range svc.RealServers {
		sum += uint64(rs.Active)
	}
	return sum
}
