package main

// searches are the ways to go through the states. "exact" keeps each state whole.
// "hash" keeps 64 bits of each: that two of so few share them is one chance in some
// hundred thousand, then one was not visited. "bitstate" keeps a few bits in a table
// and ends after a minute: it shows no more than that nothing was found.
var searches = map[string]struct{ gcc, pan string }{
	"exact":    {"-DCOLLAPSE", ""},
	"hash":     {"-DHC4", "-w25"},
	"bitstate": {"-DBITSTATE", "-w31 -k3 -Q1"},
}

// check is one run of the model.
type check struct {
	name, search string
	flags        string
	want         string // names of assertions, one of which must break; "": none may
	about        string
}

// The sizes: as much as ends in well under a minute each.
const (
	three   = "-DN=3 -DOPS=1 -DVIEWS=1 -DLOGS=2 -DCRASHES=0 -DCALLS=2 -DEPG=3 -DSEQS=3"
	four    = "-DN=4 -DOPS=1 -DVIEWS=1 -DLOGS=2 -DCRASHES=0 -DCALLS=2 -DEPG=3 -DSEQS=2"
	restart = "-DN=3 -DLIVES=2 -DOPS=1 -DVIEWS=2 -DLOGS=3 -DCRASHES=1 -DCALLS=1 -DEPG=2 -DSEQS=3"
	lease   = "-DN=3 -DLEASE=2 -DOPS=0 -DVIEWS=1 -DLOGS=2 -DOWNS=1 -DCRASHES=0 -DCALLS=1 -DEPG=2 -DSEQS=4"
	cold    = "-DN=3 -DLIVES=2 -DGENS=2 -DDISK=1 -DOPS=1 -DVIEWS=0 -DLOGS=2 -DCRASHES=2 -DCALLS=1 -DEPG=2 -DSEQS=3"

	deepLease = "-DN=3 -DLEASE=2 -DOPS=0 -DVIEWS=2 -DLOGS=4 -DOWNS=3 -DCRASHES=0 -DCALLS=1 -DEPG=2 -DSEQS=5"
)

var checks = []check{
	{"three", "exact", three, "", "token, 911, quorum, one view change; three members"},
	{"duplicates", "hash", three + " -DDUPS=1", "", "and a token that comes twice"},
	{"four", "hash", four, "", "four members"},
	{"restart", "exact", restart, "", "a crash, a new life with a snapshot, let in"},
	{"lease", "hash", lease, "", "lease, waits, and a thing that one may hold"},
	{"cold", "hash", cold, "", "disks, crashes of two, a cold start"},
	{"four-deep", "bitstate", "-DN=4 -DOPS=1 -DVIEWS=2 -DLOGS=3 -DCRASHES=0 -DCALLS=3 -DEPG=4 -DSEQS=4", "", "four members, more of all"},
	{"lease-deep", "bitstate", deepLease, "", "free and own in turn"},
	{"cold-deep", "bitstate", "-DN=3 -DLIVES=2 -DGENS=2 -DDISK=1 -DOPS=1 -DVIEWS=2 -DLOGS=4 -DCRASHES=3 -DCALLS=2 -DEPG=3 -DSEQS=4", "", "restarts, joins and a cold start"},

	{"EPOCH", "exact", three + " -DBREAK_EPOCH", "one_holder_obeyed committed_kept one_sequence", "a token below the promise is taken"},
	{"HALF", "exact", three + " -DBREAK_HALF", "one_holder_obeyed one_maker_per_epoch", "any half is a quorum"},
	{"NOPROMISE", "exact", three + " -DBREAK_NOPROMISE", "one_holder_obeyed one_maker_per_epoch", "a grant binds nobody"},
	{"NOQUORUM", "exact", three + " -DBREAK_NOQUORUM", "one_holder_obeyed one_maker_per_epoch committed_kept", "a token is made without a quorum"},
	{"OLDCOPY", "exact", three + " -DBREAK_OLDCOPY", "committed_kept", "who has a newer copy grants all the same"},
	{"HOLDGRANT", "exact", three + " -DBREAK_HOLDGRANT", "committed_kept one_sequence delivered_kept", "a holder grants and keeps its token"},
	{"ACKMIX", "exact", three + " -DBREAK_ACKMIX", "committed_kept one_sequence", "acknowledgements of two epochs are added up"},
	{"NEWALONE", "exact", three + " -DBREAK_NEWALONE", "committed_kept one_holder_obeyed one_maker_per_epoch", "no joint quorum: the pending view decides alone"},
	{"OLDALONE", "exact", three + " -DBREAK_OLDALONE", "one_holder_obeyed one_maker_per_epoch", "no joint quorum: the old view decides alone"},
	{"NAIVE", "exact", three + " -DBREAK_NAIVE", "committed_kept one_holder_obeyed one_maker_per_epoch", "naive dynamic voting: a view holds as soon as made"},
	{"NO911", "exact", three + " -DBREAK_NO911 -DDUPS=1", "one_holder_obeyed one_sequence committed_kept delivered_kept", "a send that failed is taken for a token that did not arrive"},
	{"STAMP", "exact", three + " -DBREAK_STAMP -DDUPS=1", "one_holder_obeyed one_sequence committed_kept delivered_kept", "a token no newer than the copy is taken"},
	{"AMNESIA", "exact", "-DN=3 -DOPS=1 -DVIEWS=0 -DLOGS=1 -DCRASHES=1 -DCALLS=1 -DEPG=2 -DSEQS=3 -DBREAK_AMNESIA", "committed_kept", "a restart keeps its vote without its disk"},
	{"LEASERETURN", "hash", lease + " -DBREAK_LEASERETURN", "one_actor", "the lease counts from the return"},
	{"NOWAIT", "hash", lease + " -DBREAK_NOWAIT", "one_actor", "nobody waits for the lease of who was left out"},
	{"OLDAGE", "hash", lease + " -DBREAK_OLDAGE", "one_actor", "the largest age of the grants counts, not the freshest"},
	{"MEMSETTLE", "hash", cold + " -DBREAK_MEMSETTLE", "stable_kept", "what is acknowledged counts as durable"},
}
