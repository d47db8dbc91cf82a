package dialogue

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// scram is one login by SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding.
// Passwords are used as they are, without SASLprep.
type scram struct {
	cache                 *scramCache
	user, password, nonce string
	signature             []byte // of the server, once final was called
}

// scramCache holds the salted password, which costs thousands of hashes, for the salt
// and count that the server used last.
type scramCache struct {
	salt   []byte
	rounds int
	salted []byte
}

// maxRounds bounds the work that a server can ask for: about half a second, once.
const maxRounds = 1 << 20

func (x *scram) first() string { return "n,,n=" + x.user + ",r=" + x.nonce }

// final returns the reply to a challenge.
func (x *scram) final(challenge string) (string, error) {
	var salt []byte
	nonce, rounds := "", 0
	for field := range strings.SplitSeq(challenge, ",") {
		name, value, _ := strings.Cut(field, "=")
		var err error
		switch name {
		case "r":
			nonce = value
		case "s":
			salt, err = base64.StdEncoding.DecodeString(value)
		case "i":
			rounds, err = strconv.Atoi(value)
		}
		if err != nil {
			return "", fmt.Errorf("not a challenge of SCRAM: %w", err)
		}
	}
	switch {
	case !strings.HasPrefix(nonce, x.nonce) || nonce == x.nonce || len(salt) == 0 || rounds < 1:
		return "", errors.New("not a challenge of SCRAM")
	case rounds > maxRounds:
		return "", fmt.Errorf("the server requests %d rounds of SCRAM, more than %d", rounds, maxRounds)
	}
	if k := x.cache; k.salted == nil || k.rounds != rounds || !bytes.Equal(k.salt, salt) {
		salted, err := pbkdf2.Key(sha256.New, x.password, salt, rounds, sha256.Size)
		if err != nil {
			return "", err
		}
		*k = scramCache{salt, rounds, salted}
	}
	clientKey := sign(x.cache.salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	bare := "c=biws,r=" + nonce
	message := strings.TrimPrefix(x.first(), "n,,") + "," + challenge + "," + bare
	x.signature = sign(sign(x.cache.salted, "Server Key"), message)
	proof := xor(clientKey, sign(stored[:], message))
	return bare + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

// verify reports whether the server's last message proves that it knows the password.
func (x *scram) verify(last string) bool {
	text, ok := strings.CutPrefix(last, "v=")
	proof, err := base64.StdEncoding.DecodeString(text)
	return ok && err == nil && hmac.Equal(proof, x.signature)
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// randomText returns a nonce: 24 characters.
func randomText() string {
	var b [18]byte
	rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// postgresMD5 is the reply to a request for a password of type md5.
func postgresMD5(user, password string, salt []byte) string {
	inner := md5.Sum([]byte(password + user))
	outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), salt...))
	return "md5" + hex.EncodeToString(outer[:])
}
