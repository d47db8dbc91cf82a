// This file has the preview of a reload: the daemon receives the text of the file and
// returns what it would do.

package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"lvsd/cmd/internal/preview"
)

// Plan asks what a reload with this text would change. The name is for messages;
// a director, where it is not "", must be the daemon's.
func (c *Client) Plan(ctx context.Context, name, director, text string) (preview.Preview, error) {
	query := url.Values{"file": {name}, "director": {director}}
	return send[preview.Preview](ctx, c, http.MethodPost, "/control/v1/plan?"+query.Encode(), strings.NewReader(text))
}
