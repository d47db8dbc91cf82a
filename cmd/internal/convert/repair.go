// This file holds a document against config, as `lvsd check` does, and takes
// out what is refused, naming the line that it came from. So whatever comes out
// of a conversion passes the check, also what only some versions of lvsd can do.

package convert

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lvsd/config"
)

// maxRounds bounds the repair. Each round takes out all that one check found,
// and what is taken out can make a few new mistakes, never many in a row.
const maxRounds = 50

// needed are keys without which the table around them is of no use.
var needed = map[string]bool{"name": true, "interface": true, "virtual_router_id": true, "addresses": true, "address": true, "fwmark": true, "type": true, "command": true, "key_file": true, "id": true}

// ErrNothing is what is left of a file that says nothing of use.
var ErrNothing = errors.New("nothing in it can be carried over: there is neither an election nor a virtual service")

// repair takes out of the document what config refuses.
func repair(root *Table, n *Notes) error {
	var err error
	for range maxRounds {
		if len(root.Tables("vrrp"))+len(root.Tables("virtual_service")) == 0 {
			if len(n.all) > 0 {
				return fmt.Errorf("%w\n%s", ErrNothing, n.all[0])
			}
			return ErrNothing
		}
		_, err = config.Parse("lvsd.toml", []byte(write(root)))
		var mistakes config.Errors
		if err == nil || !errors.As(err, &mistakes) {
			return err
		}
		if !takeOut(root, mistakes, n) {
			break
		}
	}
	return fmt.Errorf("the result would not pass lvsd check: %w", err)
}

// victim is what is taken out for a mistake: a key of a table, an item of the
// list in it, or an element of a list of tables.
type victim struct {
	in    *Table
	key   string
	index int // -1 = all of the key
	from  Origin
}

// inResult is a line of the result, which nobody has seen yet.
var inResult = regexp.MustCompile(`,? at line \d+`)

// takeOut takes out everything that is mistaken, and says whether that was
// anything at all.
func takeOut(root *Table, mistakes config.Errors, n *Notes) bool {
	var all []victim
	for _, m := range mistakes {
		v, ok := find(root, steps(m.Path))
		if !ok {
			continue
		}
		if slices.ContainsFunc(all, func(o victim) bool { return o.in == v.in && o.key == v.key && o.index == v.index }) {
			continue
		}
		what := m.Path[strings.LastIndexByte(m.Path, '.')+1:]
		n.Add(LeftOut, v.from, what+": "+inResult.ReplaceAllString(m.Message, ""))
		all = append(all, v)
	}
	// From the back, so that an index stays what it was.
	slices.SortStableFunc(all, func(a, b victim) int { return b.index - a.index })
	for _, v := range all {
		v.takeOut()
	}
	return len(all) > 0
}

func (v victim) takeOut() {
	e := v.in.Entry(v.key)
	if e == nil {
		return // it went with something around it
	}
	if v.index < 0 {
		v.in.Delete(v.key)
		return
	}
	switch list := e.Value.(type) {
	case []*Table:
		if v.index < len(list) {
			e.Value = slices.Delete(slices.Clone(list), v.index, v.index+1)
		}
		if len(list) == 1 {
			v.in.Delete(v.key)
		}
	case []string:
		if v.index < len(list) {
			e.Value = slices.Delete(slices.Clone(list), v.index, v.index+1)
		}
	case []any:
		if v.index < len(list) {
			e.Value = slices.Delete(slices.Clone(list), v.index, v.index+1)
		}
	default:
		v.in.Delete(v.key)
	}
}

// step is a key, or an index when key is "".
type step struct {
	key   string
	index int
}

// steps reads a path such as virtual_service[0].real_servers[1].weight.
func steps(path string) []step {
	var all []step
	for path != "" {
		switch path[0] {
		case '.':
			path = path[1:]
		case '[':
			number, rest, _ := strings.Cut(path[1:], "]")
			i, err := strconv.Atoi(number)
			if err != nil {
				return all
			}
			all, path = append(all, step{index: i}), rest
		case '"':
			quoted, err := strconv.QuotedPrefix(path)
			if err != nil {
				return all
			}
			key, _ := strconv.Unquote(quoted)
			all, path = append(all, step{key: key}), path[len(quoted):]
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			all, path = append(all, step{key: path[:end]}), path[end:]
		}
	}
	return all
}

// find walks a path as far as it leads, and says what is to be taken out: the
// key that is wrong, or, where the table around it is worth nothing without it
// or lacks it, that table.
func find(t *Table, path []step) (v victim, found bool) {
	var around victim // the element of a list, or the key, that holds t
	inside := false
	for i := 0; i < len(path); i++ {
		e := t.Entry(path[i].key)
		if e == nil {
			return around, inside // something is missing in t
		}
		here := victim{t, e.Key, -1, e.From}
		last := i == len(path)-1
		switch value := e.Value.(type) {
		case *Table:
			if last {
				return here, true
			}
			around, inside, t = here, true, value
		case []*Table:
			at := 0
			if i+1 < len(path) && path[i+1].key == "" {
				at, i = path[i+1].index, i+1
			} else if len(value) != 1 || last { // a check is a list of one without an index
				return here, true
			}
			if at >= len(value) {
				return here, true
			}
			here.index, here.from = at, value[at].From
			if i == len(path)-1 {
				return here, true
			}
			around, inside, t = here, true, value[at]
		default:
			if i+1 < len(path) && path[i+1].key == "" {
				here.index = path[i+1].index
				return here, true
			}
			if inside && needed[here.key] {
				around.from = here.from
				return around, true
			}
			return here, true
		}
	}
	return v, false
}
