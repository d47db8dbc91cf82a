package api

// ReloadResult is the outcome of a reload.
type ReloadResult struct {
	OK     bool     `json:"ok"`
	Hash   string   `json:"hash"` // of the running configuration
	Errors []string `json:"errors"`
	// Pending is what the kernel has not accepted yet although the configuration is
	// running; it is retried.
	Pending  []string `json:"pending"`
	Warnings []string `json:"warnings"` // of the file
}
