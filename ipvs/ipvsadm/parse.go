package ipvsadm

import "strings"

// Command is one line of the format.
type Command struct {
	// Options are the values by the option's short name ("-t") or, where there
	// is none, its long one ("--sctp-service"). Options without a value have "".
	Options map[string]string
	// Args are the words that belong to no option.
	Args []string
	// Unknown are the options that ipvsadm does not have.
	Unknown []string
}

// Has reports whether the option, by the name as in Options, is there.
func (c Command) Has(option string) bool {
	_, ok := c.Options[option]
	return ok
}

// arity is whether an option has a value.
type arity uint8

const (
	flag     arity = iota
	value          // required
	optional       // a number, in the same word or the next
)

// option is an option's key in Command.Options.
type option struct {
	key   string
	arity arity
}

var options = map[string]option{}

func init() {
	for _, o := range []struct {
		short, long string
		arity       arity
	}{
		{"-A", "--add-service", flag}, {"-E", "--edit-service", flag}, {"-a", "--add-server", flag}, {"-e", "--edit-server", flag},
		{"-t", "--tcp-service", value}, {"-u", "--udp-service", value}, {"", "--sctp-service", value}, {"-f", "--fwmark-service", value},
		{"-s", "--scheduler", value}, {"", "--pe", value}, {"-p", "--persistent", optional}, {"-M", "--netmask", value},
		{"-r", "--real-server", value}, {"-g", "--gatewaying", flag}, {"-m", "--masquerading", flag}, {"-i", "--ipip", flag},
		{"-w", "--weight", value}, {"-x", "--u-threshold", value}, {"-y", "--l-threshold", value},
		{"", "--tun-type", value}, {"", "--tun-port", value}, {"", "--tun-nocsum", flag}, {"", "--tun-csum", flag}, {"", "--tun-remcsum", flag},
		{"-o", "--ops", flag}, {"-b", "--sched-flags", value}, {"-6", "--ipv6", flag},
		{"", "--start-daemon", value}, {"", "--mcast-interface", value}, {"", "--syncid", value}, {"", "--sync-maxlen", value},
		{"", "--mcast-group", value}, {"", "--mcast-port", value}, {"", "--mcast-ttl", value},
		{"", "--set", flag}, {"-C", "--clear", flag}, {"-Z", "--zero", flag}, {"", "--exact", flag}, {"-n", "--numeric", flag},
	} {
		spec := option{o.short, o.arity}
		if o.short == "" {
			spec.key = o.long
		} else {
			options[o.short] = spec
		}
		options[o.long] = spec
	}
}

// Parse reads the words of one line. A first word that ends in "ipvsadm" is the
// program and is skipped. Values may follow in the same word, as in
// "--weight=5" and "-w5".
func Parse(words []string) Command {
	c := Command{Options: map[string]string{}}
	if len(words) > 0 && strings.HasSuffix(words[0], "ipvsadm") {
		words = words[1:]
	}
	for i := 0; i < len(words); i++ {
		name, v, inline := strings.Cut(words[i], "=")
		o, known := options[name]
		if !known && len(name) > 2 && name[0] == '-' && name[1] != '-' { // -w5
			if short, ok := options[name[:2]]; ok && short.arity == value {
				o, known, v, inline = short, true, words[i][2:], true
			}
		}
		next := !inline && i+1 < len(words)
		switch {
		case !known && strings.HasPrefix(name, "-"):
			c.Unknown = append(c.Unknown, name)
			continue
		case !known:
			c.Args = append(c.Args, words[i])
			continue
		case o.arity == flag:
			v = ""
		case next && (o.arity == value || strings.Trim(words[i+1], "0123456789") == ""):
			i++
			v = words[i]
		}
		c.Options[o.key] = v
	}
	return c
}
