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

// maxReasons bounds the reasons in an error.
const maxReasons = 10

// ErrNothing is the error of a file without content that can be carried over.
var ErrNothing = errors.New("nothing in it can be carried over: there is neither a VRRP instance nor a virtual service")

// repair removes what config refuses, and returns the warnings for the rest.
func repair(root *Table, files []string, n *Notes) (warnings []string, err error) {
	for range maxRounds {
		if len(root.Tables("vrrp"))+len(root.Tables("virtual_service")) == 0 {
			return nil, nothing(files, n)
		}
		f, err := config.ParseAll("lvsd.toml", []byte(write(root)))
		var mistakes config.Errors
		switch {
		case err == nil:
			return warningsOf(f), nil
		case !errors.As(err, &mistakes):
			return nil, err
		case !removeErrors(root, mistakes, n):
			return nil, fmt.Errorf("the result would not pass lvsd check: %w", err)
		}
	}
	return nil, fmt.Errorf("the result would not pass lvsd check after %d corrections", maxRounds)
}

// nothing is ErrNothing with the reasons: what is lost, or else all that is not carried
// over.
func nothing(files []string, n *Notes) error {
	err := ErrNothing
	all := Result{Notes: n.sorted(files)}.Groups()
	for i, g := range all {
		if i == maxReasons || g.Kind.rank() >= Adjusted.rank() || g.Kind != Lost && all[0].Kind == Lost {
			break
		}
		err = fmt.Errorf("%w\n%s", err, g)
	}
	return err
}

// warningsOf returns the warnings of lvsd check, each once with the keys that it is
// about: lines are not known yet.
func warningsOf(f *config.File) []string {
	var order []string
	paths := map[string][]string{}
	for _, w := range f.Warnings {
		message := lineNumber.ReplaceAllString(w.Message, "")
		if paths[message] == nil {
			order = append(order, message)
		}
		paths[message] = append(paths[message], w.Path)
	}
	for i, message := range order {
		all := slices.Compact(paths[message])
		where := strings.Join(all[:min(len(all), maxWords)], ", ")
		if more := len(all) - maxWords; more > 0 {
			where += fmt.Sprintf(" and %d more", more)
		}
		if order[i] = where + ": " + message; where == "" {
			order[i] = message
		}
	}
	return order
}

// removal is what is removed for an error: a key of a table, an item of its list, or
// an element of a list of tables.
type removal struct {
	in    *Table
	key   string
	index int // wholeKey = not an item
	from  Origin
}

const wholeKey = -1

// lineNumber matches the number of a line in the result, which is not written yet.
var lineNumber = regexp.MustCompile(`,? at line \d+`)

// removeErrors removes what the errors are about, and reports whether there was
// anything.
func removeErrors(root *Table, mistakes config.Errors, n *Notes) bool {
	type place struct {
		in  *Table
		key string
	}
	marked := map[place]map[int]bool{}
	for _, m := range mistakes {
		v, ok := locate(root, parsePath(m.Path))
		if !ok {
			continue
		}
		at := place{v.in, v.key}
		if marked[at] == nil {
			marked[at] = map[int]bool{}
		}
		if marked[at][v.index] {
			continue
		}
		marked[at][v.index] = true
		kind := LeftOut
		if v.in == root && (v.key == "vrrp" || v.key == "virtual_service") {
			kind = Lost
			if all := root.Tables("vrrp"); v.key == "vrrp" && v.index >= 0 && v.index < len(all) {
				n.drop(all[v.index].Str("name"))
			}
		}
		what := m.Path[strings.LastIndexByte(m.Path, '.')+1:]
		n.Add(kind, v.from, what+": "+lineNumber.ReplaceAllString(m.Message, ""))
	}
	var empty []*Table // services that have lost their servers
	for at, indices := range marked {
		remove(at.in, at.key, indices)
		if at.key == "real_servers" && !at.in.Has(at.key) {
			empty = append(empty, at.in)
		}
	}
	lost := map[int]bool{}
	for i, s := range root.Tables("virtual_service") {
		if slices.Contains(empty, s) {
			n.Add(Lost, s.From, NoServers)
			lost[i] = true
		}
	}
	if len(lost) > 0 {
		remove(root, "virtual_service", lost)
	}
	return len(marked) > 0
}

// remove removes a key, or items of its list. A list without items is removed with its
// key.
func remove(in *Table, key string, indices map[int]bool) {
	e := in.Entry(key)
	if e == nil {
		return
	}
	left := 0
	switch list := e.Value.(type) {
	case []*Table:
		e.Value, left = without(list, indices)
	case []string:
		e.Value, left = without(list, indices)
	case []any:
		e.Value, left = without(list, indices)
	}
	if left == 0 || indices[wholeKey] {
		in.Delete(key)
	}
}

// without returns the items of a list with other indices, and how many they are.
func without[T any](list []T, indices map[int]bool) (any, int) {
	var kept []T
	for i, item := range list {
		if !indices[i] {
			kept = append(kept, item)
		}
	}
	return kept, len(kept)
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
		here := removal{t, e.Key, wholeKey, e.From}
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
