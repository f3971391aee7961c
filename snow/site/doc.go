// Package site keeps websites in the content store: how they lie there, how one
// is published, rolled back and removed, and how a node reads them.
//
// Layout, in the bucket ".sites":
//
//	HOST/current             which version is served, and which are kept (JSON)
//	HOST/manifest/VERSION    path -> hash, size, type, date of one version (JSON)
//	HOST/blob/SHA256         the bytes of a file
//	_default/current         which host answers for unknown hosts (JSON)
//
// Guarantees: a publish is one conditional put of HOST/current after everything
// that it names is stored; a reader sees the old version or the new one, whole.
// A rollback is the same with an older version's number. The newest KeepVersions
// versions are kept. Of two publishers at once both succeed, one after the other.
//
// Deleting what no kept version needs is made safe against a publisher that
// is about to use it: the same conditional put that drops a version writes the
// list of blobs to delete, each with the ETag it has now. A commit that needs a
// listed blob reports it as missing, and each upload gives a blob a new ETag, so
// that a late delete, conditional on the old one, does nothing.
//
// Limits: MaxFiles files a site, paths of at most MaxPath bytes, no "." or ".."
// segments, no control characters, host names as in DNS or IP addresses.
package site
