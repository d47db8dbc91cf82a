package api

// Verdict is the answer to a reload.
type Verdict struct {
	OK     bool     `json:"ok"`
	Hash   string   `json:"hash"` // of the configuration that runs now
	Errors []string `json:"errors"`
	// Pending is what the kernel has not taken yet although the configuration
	// runs; it is tried again.
	Pending  []string `json:"pending"`
	Warnings []string `json:"warnings"` // of the file
}
