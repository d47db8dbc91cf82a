// Reasons that several formats share.

package convert

import "strconv"

// Reason is why a keyword is not carried over. Without a kind there is no note.
type Reason struct {
	Kind Kind
	Why  string
}

// Unsupported is the reason of a keyword that lvsd has no equivalent for.
func Unsupported(why string) Reason { return Reason{LeftOut, why} }

// Unneeded is the reason of a keyword that lvsd does without.
func Unneeded(why string) Reason { return Reason{NotNeeded, why} }

const (
	MailByKind      = "[email] sends mail of the kinds of events that its key kinds lists, and not by instance or service"
	MailOnly        = "mail only: [email] needs no such setting"
	NotifyAsJSON    = "lvsd's notify gets each event as JSON on its standard input, and not as arguments: adapt the program, then add it as notify"
	AnnouncesItself = "lvsd announces a takeover at once and again, on a schedule of its own"
	OwnProcesses    = "is about keepalived's own processes"
	NoBFD           = "lvsd speaks no BFD"
	NoWeightFile    = "lvsd reads no file for a server's weight: an exec check can print a percentage"
	NoProcess       = "lvsd looks for no process: a script in track_scripts can"
	NoStatic        = "lvsd moves addresses between directors; what stays on one belongs to its network configuration"
	NoBuffers       = "lvsd sizes its buffers by itself"
	NoSNMP          = "lvsd has metrics for Prometheus, and no SNMP"
	NoFirewall      = "lvsd writes no firewall rules"
	ChecksSpread    = "lvsd spreads the checks by itself"
)

// NoServers is why a service is lost whose servers are all left out.
const NoServers = "none of its real servers can be carried over"

// MarkPort is the note of a server of a firewall mark to which packets are sent with another
// port than the client's.
func MarkPort(port int) string {
	return "with masquerading the kernel sends the packets of a mark to port " + strconv.Itoa(port) +
		" here, and lvsd to the port that the client chose, since its servers of a mark have no port: let the server accept that one, too, or make services of the addresses and ports"
}
