// Package vrrp tests a pair of directors: which one is master, what clients see
// when the addresses move, and whether their connections survive that.
package vrrp
