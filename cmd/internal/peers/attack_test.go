// What an attacker on the wire can do without the key, and what a peer can do with it.

package peers

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var testKeys = NewKeys(7, map[uint8][]byte{7: []byte("0123456789abcdef"), 8: []byte("fedcba9876543210")})

// call opens a call to lb2 from a host of the LAN.
func knock(t *testing.T, l *lan, from netip.Addr) net.Conn {
	t.Helper()
	conn, err := l.dial(t.Context(), from, netip.AddrPortFrom(addresses["lb2"], 8113))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// send writes a message, and returns all that is received until the other side closes.
func send(t *testing.T, conn net.Conn, message []byte) (got []byte) {
	t.Helper()
	var wrote sync.WaitGroup
	wrote.Go(func() { _, _ = conn.Write(message) }) // a client that is refused early reads no more
	got, _ = io.ReadAll(conn)
	conn.Close()
	wrote.Wait()
	return got
}

// greeted reads the greeting of a call.
func greeted(t *testing.T, conn net.Conn) (server nonce) {
	t.Helper()
	b := make([]byte, greetingLen)
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	copy(server[:], b[headLen:])
	return server
}

// question1 is a signed request of lb1 to lb2.
func question1(k Keys, server nonce, q question) []byte {
	body, _ := json.Marshal(q)
	return request(k, server, nonce{1}, body)
}

var howAreYou = question{From: "lb1", To: "lb2", Want: wantState}

// TestEveryRefusal: each with the message that causes it; only a signed request gets
// more than a greeting and a reason.
func TestEveryRefusal(t *testing.T) {
	keys := NewKeys(1, map[uint8][]byte{1: []byte("0123456789abcdef")})
	other := NewKeys(1, map[uint8][]byte{1: []byte("0123456789abcdeg")})
	patched := func(at int, value byte) func(nonce) []byte {
		return func(n nonce) []byte {
			b := question1(keys, n, howAreYou)
			b[at] = value
			return b
		}
	}
	for name, c := range map[string]struct {
		message func(nonce) []byte
		want    Refusal
	}{
		"proven":           {func(n nonce) []byte { return question1(keys, n, howAreYou) }, 0},
		"magic":            {patched(0, 'X'), RefusedMessage},
		"reserved":         {patched(7, 1), RefusedMessage},
		"version":          {patched(4, 2), RefusedVersion},
		"kind":             {patched(5, byte(kindResponse)), RefusedMessage},
		"too long":         {patched(9, 1), RefusedMessage},
		"key number":       {patched(6, 9), RefusedKey},
		"nonce changed":    {patched(headLen, 9), RefusedSignature},
		"body changed":     {patched(headLen+nonceLen+3, 'X'), RefusedSignature},
		"different secret": {func(n nonce) []byte { return question1(other, n, howAreYou) }, RefusedSignature},
		"another nonce":    {func(nonce) []byte { return question1(keys, nonce{9}, howAreYou) }, RefusedSignature},
		"to another":       {func(n nonce) []byte { return question1(keys, n, question{From: "lb1", To: "lb3", Want: wantState}) }, RefusedName},
		"of another":       {func(n nonce) []byte { return question1(keys, n, question{From: "lb3", To: "lb2", Want: wantState}) }, RefusedName},
		"unknown":          {func(n nonce) []byte { return question1(keys, n, question{From: "lb1", To: "lb2", Want: "root"}) }, RefusedRequest},
		"no JSON":          {func(n nonce) []byte { return request(keys, n, nonce{}, []byte("{")) }, RefusedMessage},
		"a raw secret": {func(n nonce) []byte {
			return question1(Keys{1, map[uint8][]byte{1: []byte("0123456789abcdef")}}, n, howAreYou)
		}, RefusedSignature},
		"nothing at all":  {func(nonce) []byte { return nil }, RefusedMessage},
		"a greeting":      {func(n nonce) []byte { return greeting(n) }, RefusedMessage},
		"silent half way": {func(n nonce) []byte { return question1(keys, n, howAreYou)[:50] }, RefusedMessage},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLAN()
			two := newSide(t, l, "lb2", goodKey, "lb1")
			run(t, two)
			conn := knock(t, l, addresses["lb1"])
			began := time.Now()
			got := send(t, conn, c.message(greeted(t, conn)))
			if took := time.Since(began); took > requestTimeout {
				t.Errorf("%s: it took %v", name, took)
			}
			h, ok := parseHead(got)
			switch {
			case c.want == 0:
				if !ok || h.kind != kindResponse {
					t.Errorf("%s: %q", name, got)
				}
			case strings.HasPrefix(name, "nothing") || strings.HasPrefix(name, "silent"):
				// It closes at its timeout, too late for a reason.
			case !bytes.Equal(got, refusal(c.want)):
				t.Errorf("%s: %q, want the refusal %v alone", name, got, c.want)
			}
			synctest.Wait()
			for reason, n := range two.Refused() {
				if want := reason == c.want.String(); want != (n == 1) || n > 1 {
					t.Errorf("%s: %s counted %d times", name, reason, n)
				}
			}
		})
	}
}

// TestStranger: a client from an address of no director gets a reason only.
func TestStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		two := newSide(t, l, "lb2", goodKey, "lb1")
		run(t, two)
		conn := knock(t, l, netip.MustParseAddr("10.0.0.99"))
		if got := send(t, conn, nil); !bytes.Equal(got, refusal(RefusedAddress)) {
			t.Errorf("%q", got)
		}
		if n := two.Refused()["address"]; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}

// TestManyConnections: connections that send nothing take no more than their share, for no
// longer than the timeout, and the next one after them is served.
func TestManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		two := newSide(t, l, "lb2", goodKey, "lb1")
		run(t, two)
		for range callers {
			greeted(t, knock(t, l, addresses["lb1"]))
		}
		if got := send(t, knock(t, l, addresses["lb1"]), nil); !bytes.Equal(got, refusal(RefusedBusy)) {
			t.Errorf("%q", got)
		}
		after(requestTimeout)
		conn := knock(t, l, addresses["lb1"])
		keys := NewKeys(1, map[uint8][]byte{1: []byte("0123456789abcdef")})
		if h, ok := parseHead(send(t, conn, question1(keys, greeted(t, conn), howAreYou))); !ok || h.kind != kindResponse {
			t.Errorf("after the crowd: %+v", h)
		}
	})
}

// TestFloodOfStrangers: connections that read nothing are closed one after another, by one
// goroutine; a peer that connects after them is served.
func TestFloodOfStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		two := newSide(t, l, "lb2", goodKey, "lb1")
		run(t, two)
		synctest.Wait()
		before, began := runtime.NumGoroutine(), time.Now()
		const flood = 100
		for range flood {
			knock(t, l, netip.MustParseAddr("10.0.0.99"))
			synctest.Wait()
			if now := runtime.NumGoroutine(); now > before {
				t.Fatalf("%d goroutines, before the flood %d", now, before)
			}
		}
		conn := knock(t, l, addresses["lb1"])
		if h, ok := parseHead(send(t, conn, question1(NewKeys(1, map[uint8][]byte{1: []byte("0123456789abcdef")}), greeted(t, conn), howAreYou))); !ok || h.kind != kindResponse {
			t.Errorf("after the flood: %+v", h)
		}
		if took := time.Since(began); took > flood*refusalTimeout {
			t.Errorf("it took %v", took)
		}
		if n := two.Refused()["address"]; n != flood {
			t.Errorf("%d were refused", n)
		}
	})
}

// TestSlowPeer: a connection of a director with the key that writes its request octet by
// octet, or does not read the response, is closed in time.
func TestSlowPeer(t *testing.T) {
	keys := NewKeys(1, map[uint8][]byte{1: []byte("0123456789abcdef")})
	for name, talk := range map[string]func(net.Conn, []byte) error{
		"writes slowly": func(conn net.Conn, message []byte) error {
			for i := range message {
				if _, err := conn.Write(message[i : i+1]); err != nil {
					return err
				}
				time.Sleep(requestTimeout / 20)
			}
			return nil
		},
		"reads slowly": func(conn net.Conn, message []byte) error {
			if _, err := conn.Write(message); err != nil {
				return err
			}
			for {
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					return err
				}
				time.Sleep(requestTimeout / 20)
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLAN()
			two := newSide(t, l, "lb2", goodKey, "lb1")
			run(t, two)
			conn := knock(t, l, addresses["lb1"])
			began := time.Now()
			if err := talk(conn, question1(keys, greeted(t, conn), howAreYou)); err == nil {
				t.Errorf("%s: the director went on", name)
			}
			if took := time.Since(began); took > requestTimeout+requestTimeout/20 {
				t.Errorf("%s: hung up after %v", name, took)
			}
			synctest.Wait()
			two.Exchange.mu.Lock()
			defer two.Exchange.mu.Unlock()
			if len(two.inProgress) != 0 {
				t.Errorf("%s: still in progress: %v", name, two.inProgress)
			}
		})
	}
}

// wire is an attacker between two directors that reads and changes the messages.
type wire struct {
	net.Conn
	fromCallee, fromCaller func([]byte) []byte
	seen                   *bytes.Buffer
}

func (w wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if w.fromCallee != nil && n > 0 {
		copy(b[:n], w.fromCallee(b[:n]))
	}
	return n, err
}

func (w wire) Write(b []byte) (int, error) {
	if w.seen != nil {
		w.seen.Write(b)
	}
	if w.fromCaller != nil {
		b = w.fromCaller(bytes.Clone(b))
	}
	return w.Conn.Write(b)
}

// TestChangedOnTheWire: no octet of a response can be changed.
func TestChangedOnTheWire(t *testing.T) {
	keys := NewKeys(1, map[uint8][]byte{1: []byte("0123456789abcdef")})
	var server, client nonce
	client[0] = 5
	body := []byte(`{"from":"lb2","to":"lb1"}`)
	good := answer(keys, 1, server, client, body)
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		h, ok := parseHead(b)
		if !ok || h.version != version || h.kind != kindResponse || int(h.length) != len(body) {
			continue // refused for its form
		}
		if keys.verify(h, server, client, b[headLen:len(b)-macLen], b[len(b)-macLen:]) == 0 {
			t.Errorf("octet %d can be changed", i)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l, one, _ := pairOf(t)
		l.mu.Lock()
		l.between = func(c net.Conn) net.Conn {
			return wire{Conn: c, fromCallee: func(b []byte) []byte { return bytes.Replace(b, []byte(`"abc"`), []byte(`"abd"`), 1) }}
		}
		l.mu.Unlock()
		after(time.Minute)
		if p := one.peer(); p.Up || p.State.Hash != "abc" || !strings.Contains(p.Error, "not authentic") {
			t.Errorf("%+v", p)
		}
	})
}

// TestReplay: a recorded request has no effect on another connection, and a recorded
// response is accepted on none.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, one, two := pairOf(t)
		var recorded bytes.Buffer
		var answered []byte
		l.mu.Lock()
		l.between = func(c net.Conn) net.Conn {
			return wire{Conn: c, seen: &recorded, fromCallee: func(b []byte) []byte { answered = append(answered, b...); return b }}
		}
		l.mu.Unlock()
		if _, err := one.RequestDrain(t.Context(), "lb2", "web", "x"); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		l.between = nil
		l.mu.Unlock()
		conn := knock(t, l, addresses["lb1"])
		greeted(t, conn)
		if got := send(t, conn, recorded.Bytes()); !bytes.Equal(got, refusal(RefusedSignature)) {
			t.Errorf("a recorded question: %q", got)
		}
		if n := two.Refused()["proof"]; n != 1 {
			t.Errorf("counted %d", n)
		}
		// The attacker acts as lb2 with all its earlier messages.
		if _, err := converse(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(answered), io.Discard}, one.setup.Load().keys, []byte("{}")); err == nil || !strings.Contains(err.Error(), "not authentic") {
			t.Errorf("a recorded answer: %v", err)
		}
	})
}

// TestReflection: a director does not accept its own messages, in whatever role.
func TestReflection(t *testing.T) {
	var server, client nonce
	body := []byte(`{"from":"lb1","to":"lb2","want":"state"}`)
	sent := request(testKeys, server, client, body)
	proof := sent[len(sent)-macLen:]
	if testKeys.verify(head{version: version, kind: kindResponse, key: 7, length: uint32(len(body))}, server, client, body, proof) == 0 {
		t.Error("a question passes for an answer")
	}
	if testKeys.verify(head{version: version, kind: kindRequest, key: 7, length: uint32(len(body))}, client, server, body, proof) != 0 {
		t.Error("both nonces are the same here, so the proof must hold")
	}
	client[0] = 1
	sent = request(testKeys, server, client, body)
	if testKeys.verify(head{version: version, kind: kindRequest, key: 7, length: uint32(len(body))}, client, server, body, sent[len(sent)-macLen:]) == 0 {
		t.Error("the nonces can change places")
	}
	// lb1 is called in lb2's name with what lb1 just asked lb2.
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		one := newSide(t, l, "lb1", goodKey, "lb2")
		run(t, one)
		back, err := l.dial(t.Context(), addresses["lb2"], netip.AddrPortFrom(addresses["lb1"], 8113))
		if err != nil {
			t.Fatal(err)
		}
		keys := one.setup.Load().keys
		got := send(t, back, question1(keys, greeted(t, back), howAreYou))
		if !bytes.Equal(got, refusal(RefusedName)) {
			t.Errorf("%q", got)
		}
	})
}

// TestAnotherDirectorAnswers: of three, lb3 cannot answer for lb2, though all have
// the key.
func TestAnotherDirectorAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		one, three := newSide(t, l, "lb1", goodKey, "lb2", "lb3"), newSide(t, l, "lb3", goodKey, "lb1", "lb2")
		run(t, one, three)
		l.mu.Lock()
		l.ports[netip.AddrPortFrom(addresses["lb2"], 8113)] = l.ports[netip.AddrPortFrom(addresses["lb3"], 8113)]
		l.mu.Unlock()
		after(time.Minute)
		peers := one.Peers()
		if peers[0].Up || !strings.Contains(peers[0].Error, "different names") || !peers[1].Up {
			t.Errorf("%+v", peers)
		}
	})
}

// TestHostilePeer: the messages of a peer with the key are bounded and made printable.
func TestHostilePeer(t *testing.T) {
	s := State{Version: "\x1b[2J" + strings.Repeat("v", 1000), Problems: make([]string, 1000), Instances: make([]Instance, 5000)}
	s.Problems[0] = "ä\x1b]0;x\x07\xff"
	s.Health.Services = []ServiceHealth{{Name: strings.Repeat("n", 1000), Servers: []ServerHealth{{Why: "\r\n"}}}}
	body, err := json.Marshal(reply{From: "lb2", To: "lb1", State: &s})
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseReply(body, howAreYou)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.State.Problems; len(got) != maxProblems || got[0] != "ä?]0;x??" {
		t.Errorf("%d, %q", len(got), got[0])
	}
	if len(r.State.Version) != 64 || strings.Contains(r.State.Version, "\x1b") || len(r.State.Instances) != maxInstances ||
		r.State.Health.Services[0].Servers[0].Why != "??" || len(r.State.Health.Services[0].Name) != 64 {
		t.Errorf("%+v", r.State.Health)
	}
	for _, bad := range []string{``, `{}`, `{"from":"lb2","to":"lb1"}`, `{"from":"lb3","to":"lb1","state":{}}`, `{"from":"lb2","to":"lb2","state":{}}`,
		`{"from":"lb2","to":"lb1","health":{}}`, `{"from":"lb2","to":"lb1","state":[]}`, strings.Repeat("[", 100000)} {
		if _, err := parseReply([]byte(bad), howAreYou); err == nil {
			t.Errorf("%.60q is an answer", bad)
		}
	}
}

// TestGoldenMessages has the test vector of docs/peers.md.
func TestGoldenMessages(t *testing.T) {
	var server, client nonce
	for i := range server {
		server[i], client[i] = byte(i), byte(0x80+i)
	}
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"greeting": {greeting(server), "4c5653500101000000000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
		"request": {request(testKeys, server, client, []byte(`{"from":"lb1","to":"lb2","want":"state"}`)),
			"4c5653500102070000000028808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f7b2266726f6d223a226c6231222c22746f223a226c6232222c2277616e74223a227374617465227d5bfabaf25b32965b847bbd280413074fceff9d40f3cbb0e121bdbb41f965a6de"},
		"answer":  {answer(testKeys, 7, server, client, []byte(`{}`)), "4c56535001030700000000027b7d69534d04788829df77ea2283c3dd32a0cf9527002cb1fea981989aa1807ff2ef"},
		"refusal": {refusal(RefusedKey), "4c5653500104050000000000"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// FuzzRequest: whatever a client sends is refused or was signed, and what was signed is
// what was sent.
func FuzzRequest(f *testing.F) {
	f.Add(request(testKeys, nonce{}, nonce{1}, []byte(`{"from":"lb1"}`)))
	f.Add(refusal(RefusedKey))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, client, body, r := readRequest(bytes.NewReader(text), nonce{}, testKeys)
		if r != 0 {
			return
		}
		k := testKeys
		k.first = h.key
		if again := request(k, nonce{}, client, body); !bytes.Equal(again, text[:len(again)]) {
			t.Errorf("%x is not what was sent, %x", again, text)
		}
	})
}

// FuzzAnswer: whatever a server sends ends in an error or in a signed response.
func FuzzAnswer(f *testing.F) {
	f.Add(append(greeting(nonce{}), answer(testKeys, 7, nonce{}, nonce{}, []byte("{}"))...))
	f.Add(refusal(RefusedBusy))
	f.Add(append(greeting(nonce{}), refusal(200)...))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := converse(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(text), io.Discard}, testKeys, []byte("{}")); err == nil {
			t.Errorf("%q was believed", got) // it cannot know the nonce of the caller
		}
	})
}

// FuzzReply: a signed response with any text is accepted or refused, and what is kept
// of it is bounded and printable.
func FuzzReply(f *testing.F) {
	body, _ := json.Marshal(reply{From: "lb2", To: "lb1", State: &State{Problems: []string{"x"}, Health: health("up", 1)}})
	f.Add(body)
	f.Add([]byte(`{"from":"lb2","to":"lb1","state":{"elections":[{}],"health":{"services":[{"servers":[{}]}]}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseReply(text, howAreYou)
		if err != nil {
			return
		}
		if len(r.State.Problems) > maxProblems || len(r.State.Instances) > maxInstances {
			t.Errorf("%d problems, %d elections", len(r.State.Problems), len(r.State.Instances))
		}
		for _, s := range append(r.State.Problems, r.State.WaitReason, r.State.Version, r.State.Hash) {
			if len(s) > 3*maxText || strings.IndexFunc(s, unprintable) >= 0 {
				t.Errorf("%q is shown", s)
			}
		}
		differing(health("up", 1), r.State.Health, false)
		before := *r.State
		if r.State.clean(); !reflect.DeepEqual(before, *r.State) {
			t.Error("cleaning twice changes more")
		}
	})
}
