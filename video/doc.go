// Package video keeps films in the content store and serves them: RAINVideo.
//
// Below /video/NAME/ on every virtual address and every node: the player page,
// index.m3u8 (master playlist), media.m3u8, init.mp4, seg-N.m4s, film.mp4 (with
// ranges), poster.jpg, captions[.LANGUAGE].vtt, film.json (facts, and the other addresses
// at which the same film is found). /video/ lists the films.
//
// Guarantees: a film is there whole or not at all, for all nodes at once; it was
// held to what browsers play before it got its name. Segments are functions of
// the film's hash and their number (package film), so any node goes on where
// another one died. What carries ?v=HASH never changes; once the film is
// replaced such an address answers 410.
//
// Limits: names of 1 to 64 letters, digits, dots, dashes and underscores that
// begin with a letter or digit; films as the store and package film allow;
// posters and captions up to MaxExtra bytes. Memory: Config.CacheBytes of cut
// segments and the sample tables of Config.Tables films (about 32 bytes a
// picture or frame of sound), whatever the number of viewers.
//
// In the store, bucket ".video": NAME/film.ID the file, NAME/index the JSON of
// entry, NAME/poster, NAME/captions.
package video
