// Values of one key: conversion to the key's type, range and choices.

package schema

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"lvsd/config/values"
)

// Coerce converts a value to the key's type, or returns what is wrong with it.
func (k *Key) Coerce(v any) (value any, problem string) {
	switch k.Kind {
	case String, Netmask:
		if i, ok := v.(int64); ok && k.Kind == Netmask {
			return strconv.FormatInt(i, 10), ""
		}
		s, problem := k.CoerceString(v)
		return s, problem
	case Int:
		if i, ok := v.(int64); ok {
			return i, k.checkRange(i, func(i int64) string { return strconv.FormatInt(i, 10) })
		}
	case StringOrTable:
		if _, ok := v.(string); !ok {
			break
		}
		s, problem := k.CoerceString(v)
		return s, problem
	case Bool, BoolOrTable:
		if b, ok := v.(bool); ok {
			return b, ""
		}
	case Duration:
		switch v := v.(type) {
		case string:
			d, ok := values.ParseDuration(v)
			if !ok {
				return nil, fmt.Sprintf("must be %s, not %q; units are ms, s, m, h", k.Kind.Describe(), v)
			}
			return d, k.checkRange(int64(d), func(i int64) string { return values.FormatDuration(time.Duration(i)) })
		case int64:
			return nil, fmt.Sprintf("must be %s; the bare number %d does not say which unit", k.Kind.Describe(), v)
		}
	case Time:
		if at, ok := v.(time.Time); ok {
			return zonedTime(at)
		}
	case MixedList:
		switch v := v.(type) {
		case []any:
			return v, ""
		case []map[string]any:
			return v, ""
		}
	case Any:
		return v, ""
	}
	if _, isTable := v.(map[string]any); isTable {
		return nil, fmt.Sprintf("must be %s, one for all directors, not a table", k.Kind.Describe())
	}
	return nil, fmt.Sprintf("must be %s, not %s", k.Kind.Describe(), DescribeValue(v))
}

// CoerceString requires a string that is among the key's choices.
func (k *Key) CoerceString(v any) (s, problem string) {
	s, ok := v.(string)
	switch {
	case !ok:
		return "", "must be a string in quotes, not " + DescribeValue(v)
	case len(k.Choices) == 0:
		return s, ""
	case slices.Contains(k.Choices, s):
		return s, ""
	}
	problem = fmt.Sprintf("must be %s, not %s", JoinOr(k.Choices), values.Quote(s))
	if near := Closest(s, k.Choices); near != "" {
		problem += fmt.Sprintf("; did you mean %q?", near)
	}
	return "", problem
}

// checkRange returns the problem of a number outside the key's range.
func (k *Key) checkRange(i int64, write func(int64) string) string {
	if k.Min == 0 && k.Max == 0 || k.Min <= i && i <= k.Max {
		return ""
	}
	return fmt.Sprintf("must be %s to %s, not %s", write(k.Min), write(k.Max), write(i))
}

// DescribeValue names a value of the wrong type in a message.
func DescribeValue(v any) string {
	switch v := v.(type) {
	case string:
		return "the string " + values.Quote(v)
	case int64:
		return "the number " + strconv.FormatInt(v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "not a number"
		}
		return "the number " + strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return "a date or time"
	case []any, []map[string]any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "something else"
}

// zonedTime accepts a time that means the same on every host, which local times and
// dates of TOML do not.
func zonedTime(at time.Time) (any, string) {
	switch at.Location().String() { // the library's names for missing parts
	case "datetime-local":
		return nil, "must have a time zone: add Z for UTC, or an offset such as +01:00"
	case "date-local", "time-local":
		return nil, "must be a date and a time with its zone, such as 2026-12-01T06:00:00Z"
	}
	return at.UTC(), ""
}

// RedactValue is DescribeValue for a value that may be a secret.
func RedactValue(v any) string {
	if text, is := v.(string); is {
		return values.Redact(text)
	}
	return DescribeValue(v)
}
