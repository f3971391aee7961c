package video

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"rain/store"
)

// captionsOf is the name of what holds the captions in a language, as BCP 47
// writes it; "" is a language that nobody named.
func captionsOf(language string) string {
	if language == "" {
		return "captions"
	}
	return "captions." + language
}

var goodLanguage = regexp.MustCompile(`^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$`)

// language reads the name of captions; ok is false if it is none.
func language(name string) (language string, ok bool) {
	if name == "captions" {
		return "", true
	}
	language, ok = strings.CutPrefix(name, "captions.")
	return language, ok && goodLanguage.MatchString(language)
}

// maxLanguages bounds how many captions a film is told to have.
const maxLanguages = 100

// languages lists the captions of a film.
func (s *Server) languages(ctx context.Context, name string) ([]string, error) {
	out := []string{}
	page, _, err := s.deps.Content.List(Bucket, name+"/captions", "", maxLanguages)
	if err != nil && !errors.Is(err, store.ErrNoBucket) {
		return nil, absent(name, err)
	}
	for _, i := range page {
		if l, ok := language(strings.TrimPrefix(i.Key, name+"/")); ok {
			out = append(out, l)
		}
	}
	return out, nil
}
