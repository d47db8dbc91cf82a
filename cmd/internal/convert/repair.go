// Validation of the result as by `lvsd check`. What is refused is removed, with a note
// for the line that it came from, so that every result passes the check.

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

// maxRounds bounds the repair. Each round removes everything that one check
// reports, which can cause a few new errors.
const maxRounds = 50

// requiredKeys are keys whose removal removes the table.
var requiredKeys = map[string]bool{"name": true, "interface": true, "virtual_router_id": true, "addresses": true, "address": true, "fwmark": true, "type": true, "command": true, "key_file": true, "id": true}

// ErrNothing is the error of a file without content that can be carried over.
var ErrNothing = errors.New("nothing in it can be carried over: there is neither an election nor a virtual service")

// repair removes what config refuses.
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
		if !removeErrors(root, mistakes, n) {
			break
		}
	}
	return fmt.Errorf("the result would not pass lvsd check: %w", err)
}

// removal is what is removed for an error: a key of a table, an item of its list, or
// an element of a list of tables.
type removal struct {
	in    *Table
	key   string
	index int // -1 = the whole key
	from  Origin
}

// lineNumber matches the number of a line in the result, which is not written yet.
var lineNumber = regexp.MustCompile(`,? at line \d+`)

// removeErrors removes what the errors are about, and reports whether there was
// anything.
func removeErrors(root *Table, mistakes config.Errors, n *Notes) bool {
	var all []removal
	for _, m := range mistakes {
		v, ok := locate(root, parsePath(m.Path))
		if !ok {
			continue
		}
		if slices.ContainsFunc(all, func(o removal) bool { return o.in == v.in && o.key == v.key && o.index == v.index }) {
			continue
		}
		what := m.Path[strings.LastIndexByte(m.Path, '.')+1:]
		n.Add(LeftOut, v.from, what+": "+lineNumber.ReplaceAllString(m.Message, ""))
		all = append(all, v)
	}
	// From the back, so that indices stay valid.
	slices.SortStableFunc(all, func(a, b removal) int { return b.index - a.index })
	for _, v := range all {
		v.remove()
	}
	return len(all) > 0
}

func (v removal) remove() {
	e := v.in.Entry(v.key)
	if e == nil {
		return // removed with the table around it
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

// parsePath reads a path such as virtual_service[0].real_servers[1].weight.
func parsePath(path string) []step {
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

// locate follows a path as far as it exists, and returns what to remove: the key with
// the error or, if that is required or missing, the table around it.
func locate(t *Table, path []step) (v removal, found bool) {
	var around removal // the element of a list, or the key, that holds t
	inside := false
	for i := 0; i < len(path); i++ {
		e := t.Entry(path[i].key)
		if e == nil {
			return around, inside // something is missing in t
		}
		here := removal{t, e.Key, -1, e.From}
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
			if inside && requiredKeys[here.key] {
				around.from = here.from
				return around, true
			}
			return here, true
		}
	}
	return v, false
}
