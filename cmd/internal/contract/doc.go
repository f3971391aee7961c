// Package contract holds the programs to the names, codes and fields that
// operators' scripts rely on. It has only tests: they build the programs, run a
// demo on free ports and look at it from outside, as a script would.
//
// What a later release brings is in the lists with its reason, and is printed
// as "skipped NAME: REASON" until it is there.
package contract
