// What a reload with a file would change: the daemon is given the file's text
// and answers with what it would do itself.

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
