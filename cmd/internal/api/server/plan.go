package server

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/preview"
	"lvsd/config"
)

// textLimit is more than a configuration may have: the parser rejects larger ones.
const textLimit = 20 << 20

// plan returns what a reload with the text in the body would do. It is on the control
// socket although it changes nothing: it opens sockets and files as a reload would, and
// closes them.
func (s *Server) plan(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(io.LimitReader(r.Body, textLimit))
	if err != nil {
		http.Error(w, fmt.Sprintf("failed to read the file's text: %v", err), http.StatusBadRequest)
		return
	}
	name, director := r.URL.Query().Get("file"), r.URL.Query().Get("director")
	running := s.Daemon.View(r.Context()).Config
	if director != "" && director != running.Director {
		http.Error(w, fmt.Sprintf("this daemon is director %s, not %s", running.Director, director), http.StatusNotFound)
		return
	}
	file, err := config.Parse(name, text)
	var next *config.Config
	if err == nil {
		next, err = file.For(running.Director)
	}
	if err != nil {
		p := preview.Refuse(running.Director, name, time.Now(), api.Lines(err))
		p.Daemon, p.RunningHash = true, running.Hash
		answer(w, http.StatusOK, p)
		return
	}
	dry, err := s.Daemon.DryRun(r.Context(), next)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer(w, http.StatusOK, preview.Build(dry, api.Lines(dry.Refused), warnings(file)))
}

func warnings(file *config.File) []string {
	var all []string
	for _, w := range file.Warnings {
		all = append(all, w.Error())
	}
	return all
}
