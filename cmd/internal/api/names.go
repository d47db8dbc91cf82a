package api

import (
	"fmt"
	"strings"
)

// shownNames is how many names an error lists.
const shownNames = 20

// UnknownService is the error for a name that no virtual service has.
func UnknownService(name string, all []string) error {
	return fmt.Errorf("there is no service %q; there are: %s", name, listed(all))
}

// UnknownServer is the error for a name that no real server of a service has.
func UnknownServer(service, name string, all []string) error {
	return fmt.Errorf("service %s has no real server %s; it has: %s", service, name, listed(all))
}

func listed(all []string) string {
	switch more := len(all) - shownNames; {
	case len(all) == 0:
		return "none"
	case more > 0:
		return strings.Join(all[:shownNames], ", ") + fmt.Sprintf(", and %d more", more)
	}
	return strings.Join(all, ", ")
}
