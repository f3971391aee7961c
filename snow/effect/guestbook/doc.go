// Package guestbook is a book that visitors write into: the smallest useful
// application of package effect, and a model for others.
//
//	POST /guestbook   text up to MaxText bytes of UTF-8: a form's field "text", or
//	                  the whole body. 201 {"id":17,"key":"K"}; who accepts
//	                  text/html is sent back to the page (303). The key is the
//	                  Idempotency-Key, a form's field "key", or else the entry's id.
//	GET /guestbook    who accepts text/html gets a page with the newest PageSize
//	                  entries, ?before=ID the ones before it; others get JSON:
//	                  {"count":2,"entries":[{"id":17,"key":"K","time":"...","text":"..."}],"next":0},
//	                  ascending by id; next, if not 0, is the after of the next
//	                  page: ?after=ID&limit=N
//
// Each entry is an object in the bucket Bucket. Its key is the index of the op
// that put it there, in 20 digits, and so is its id: what was done twice is
// there twice. The page works without scripts; its form carries a key, so that
// sending it twice counts once.
//
// Errors: 400 bad_key, bad_text; 403 from a page of another site; 409 still_running; 413
// too_large; 422 other_request; 503 with Retry-After; 507 book_full.
//
// Limits: Config.MaxEntries entries; Config.MaxReaders lists at once; a list in
// JSON ends after 8 MiB of text and says where to go on.
package guestbook
