/*
 * The ring's token, 911, quorum, view changes, restarts, cold start and lease,
 * for a few nodes and a few of each event. See README.md: what is modelled, what
 * is not, which function of the core each transition stands for, and how the
 * broken variants (-DBREAK_...) are caught.
 *
 * One process makes all steps; each step is atomic, as Machine.Step is. A message
 * that never comes is a step that is not taken, so loss, delay, crash of the
 * receiver and partition need no steps of their own.
 */

#ifndef N
#define N 3          /* nodes */
#endif
#ifndef LIVES
#define LIVES 1      /* lives (incarnations) of a node */
#endif
#ifndef GENS
#define GENS 1       /* generations: cold starts + 1 */
#endif
#ifndef EPG
#define EPG 3        /* epochs of a generation */
#endif
#ifndef SEQS
#define SEQS 4       /* hops in an epoch */
#endif
#ifndef LOGS
#define LOGS 2       /* entries in the log */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef CALLS
#define CALLS 3      /* 911s of all nodes together */
#endif
#ifndef OPS
#define OPS 1        /* plain ops of all nodes together */
#endif
#ifndef VIEWS
#define VIEWS 1      /* view changes appended, in all */
#endif
#ifndef OWNS
#define OWNS 1       /* ops of the exclusive thing, in all */
#endif
#ifndef DUPS
#define DUPS 0       /* tokens delivered twice */
#endif
#ifndef LEASE
#define LEASE 0      /* ticks of a lease; 0: no time at all */
#endif
#ifndef WAIT
#define WAIT LEASE   /* all clocks tick together here, so no eighth is needed */
#endif
#ifndef DISK
#define DISK 0       /* 1: what is held and what is on disk differ */
#endif

#define M (N*LIVES)              /* members: a node's id and life */
#define ALL ((1<<N)-1)
#define BIT(m) (1<<(m))
#define ID(m) ((m)%N)
#define EPOCHS (GENS*EPG)
#define GEN(e) (((e)-1)/EPG)
#define FIRST(g) ((g)*EPG+1)     /* a generation's first epoch: of a cold start */

/* An entry of the log: who made it, and what it says. */
#define KIND(x)  ((x) & 7)
#define OP 1                      /* a rider's op */
#define VIEW 2                    /* a view change */
#define COLD 3                    /* a view change of a cold start */
#define OWN 4                     /* the thing is its maker's from now on */
#define FREE 5                    /* its maker gives it up */
#define FROM(x)  (((x)>>3) & 15)
#define MASK(x)  (((x)>>7) & 4095)
#define WAITS(x) (((x)>>19) & 15)
#define UNIQ(x)  (((x)>>23) & 15)
#define ENTRY(kind,from,mask,wait,uniq) ((kind) | ((from)<<3) | ((mask)<<7) | ((wait)<<19) | ((uniq)<<23))
#define ISVIEW(x) (KIND(x) == VIEW || KIND(x) == COLD)

#define BITS4(x) (((x)&1)+(((x)>>1)&1)+(((x)>>2)&1)+(((x)>>3)&1))
#if M > 8
#define COUNT(x) (BITS4(x)+BITS4((x)>>4)+BITS4((x)>>8))
#elif M > 4
#define COUNT(x) (BITS4(x)+BITS4((x)>>4))
#else
#define COUNT(x) BITS4(x)
#endif

/* View.Quorum: more than half, or half with the member longest in the view. */
#ifdef BREAK_HALF
#define QUORUM(v,d,s) ((v) == 0 || 2*COUNT((s)&(v)) >= COUNT(v))
#else
#define QUORUM(v,d,s) ((v) == 0 || 2*COUNT((s)&(v)) > COUNT(v) || (2*COUNT((s)&(v)) == COUNT(v) && ((s) & BIT(d))))
#endif
/* quorumOf: of each view in force of node i; an unsettled cold view wants all. */
#define AGREE(i,s) (n[i].whole -> ((s) & n[i].fb) == n[i].fb : (QUORUM(n[i].fa,n[i].da,s) && QUORUM(n[i].fb,n[i].db,s)))

#define DOWN 0
#define SEEK 1       /* looks for a primary */
#define ADOPTED 2    /* has a snapshot, waits to be let in */
#define MEMBER 3
#define COLDCALL 4   /* asks disks for their votes */
#define COLDGRANT 5  /* gave its disk's vote */
#define COLDREADY 6  /* has the maker's log */
#define COLDMADE 7   /* made the cold view, waits until all have the log */

typedef Node {
	byte st;
	byte me;              /* member: id + N*life */
	byte pe; byte pt;     /* promised: epoch, to whom (member + 1) */
	byte ce; byte cs;     /* stamp of my copy: epoch, seq */
	bool hold;
	int log[LOGS]; byte ln;
	byte commit; byte stable;   /* of my copy */
	byte dlv;                   /* delivered; never falls */
	short fa; short fb;   /* views in force: the settled one if another is pending, the newest */
	byte da; byte db;     /* their distinguished members */
	short nv;             /* the newest view in the log */
	bool whole;           /* fb is a cold view that is not settled */
	byte call; short got; /* my 911: epoch (0: none), who granted */
	byte be; byte bt;     /* promised before it */
	byte tried;           /* highest epoch that I called for */
#if LEASE
	byte lease;           /* ticks left */
	byte pe1; byte ps1;   /* stamp of my last pass */
	byte page;            /* ticks since */
	byte lage;            /* ticks since I accepted, passed or made a token */
	byte gage;            /* age of the freshest grant */
	byte wm;              /* wait of a view made with its epoch, + 1; 0: none */
	byte fr[LOGS];        /* ticks left of the wait of the view change at that index */
#endif
#if DISK
	byte de; int dlog[LOGS]; byte dlen; byte dst; /* on disk: epoch, log, stable */
	byte dp;              /* cold promise */
	byte mst;             /* stable, never falls */
	bool tainted;
	bool keeps;           /* a joiner: the disk is still that of the life before */
#endif
}

typedef Tok {
	byte made;            /* maker + 1 */
	bool fly; byte to;    /* on its way to that member */
	byte seq;
	int log[LOGS]; byte ln;
	byte commit; byte stable;
	short vis;            /* members of the views in force */
	short ack[LOGS];      /* who holds entry k */
#if DISK
	short dur[LOGS];      /* who has entry k on disk */
#endif
#if LEASE
	byte seen[M];         /* seq at each member's last accept or pass */
#endif
}

Node n[N];
Tok t[EPOCHS+1];
byte crashes, calls, ops, views, owns;
#if DUPS
Tok dup;                  /* a second copy of a token, still on its way */
byte dupe;                /* its epoch; 0: none */
byte dups;
#endif
/* What has been committed (ge: the lowest epoch known to have done so), and what
   a quorum has had on disk, by index, for each generation. */
int g[GENS*LOGS]; byte ge[GENS*LOGS];
#if DISK
int gs[LOGS]; byte gse[LOGS];
#endif

/* Names of what must hold. They are always false: MUST(name, condition) fails
   with the name in the assertion's text. */
hidden byte one_maker_per_epoch, one_holder_obeyed, one_sequence, committed_kept, delivered_kept, one_actor, stable_kept;
#define MUST(name, cond) assert(name || (cond))

/* Scratch: only used inside one indivisible step. */
hidden byte e, k, q, c0, s0, r;
hidden int x, y, z, w;
int ch; byte to;          /* the choices of a pass; 0 between steps */
byte a, b, c;             /* who, with whom, which epoch; 0 between steps */

/* ---- views ---- */

/* The distinguished member of v: the first view that had any of its members. */
inline dist(i, v, out) {
	w = v & ALL; x = 0;
	do
	:: w == 0 && x < n[i].ln ->
		if :: ISVIEW(n[i].log[x]) -> w = v & MASK(n[i].log[x]) :: else fi;
		x++
	:: else -> break
	od;
	out = 0; x = 0;
	do
	:: x < N ->
		q = 0;
		do
		:: q < LIVES && !((w >> (x+N*q)) & 1) -> q++
		:: else -> break
		od;
		if :: q < LIVES -> out = x+N*q; break :: else -> x++ fi
	:: else -> break
	od
}

/* inForce: what the log and stable of node i say. */
inline refresh(i) {
	y = 0; z = ALL; r = 0; s0 = 0; k = 0;
	do
	:: k < n[i].ln ->
		if
		:: ISVIEW(n[i].log[k]) -> y = z; z = MASK(n[i].log[k]); r = k+1; s0 = (KIND(n[i].log[k]) == COLD)
		:: else
		fi;
		k++
	:: else -> break
	od;
	n[i].nv = z;
	n[i].whole = (s0 && r > n[i].stable);
	if :: r <= n[i].stable || s0 -> y = 0 :: else fi;
#ifdef BREAK_NEWALONE
	y = 0;
#endif
#ifdef BREAK_OLDALONE
	if :: y != 0 -> z = y; y = 0 :: else fi;
#endif
	n[i].fa = y; n[i].fb = z;
	dist(i, n[i].fb, n[i].db);
	if :: n[i].fa -> dist(i, n[i].fa, n[i].da) :: else -> n[i].da = 0 fi;
	x = 0; y = 0; z = 0; w = 0
}

#define VIS(i) (n[i].fa | n[i].fb | n[i].nv)
#define ISPENDING(i) (n[i].fa != 0 || n[i].whole)

/* ---- what the god's eye keeps ---- */

inline note_commit(i) {
	k = 0;
	do
	:: k < n[i].commit ->
		q = GEN(n[i].ce)*LOGS+k;
		if
		:: g[q] == 0 -> g[q] = n[i].log[k]; ge[q] = n[i].ce
		:: else ->
			MUST(one_sequence, g[q] == n[i].log[k]);
			if :: n[i].ce < ge[q] -> ge[q] = n[i].ce :: else fi
		fi;
		k++
	:: else -> break
	od;
	if :: n[i].commit > n[i].dlv -> n[i].dlv = n[i].commit :: else fi
}

inline note_made(i) {
	MUST(one_maker_per_epoch, t[n[i].ce].made == 0);
	k = 0;
	do
	:: k < LOGS ->
		q = GEN(n[i].ce)*LOGS+k;
		if
		:: g[q] != 0 && ge[q] < n[i].ce -> MUST(committed_kept, k < n[i].ln && n[i].log[k] == g[q])
		:: else
		fi;
		k++
	:: else -> break
	od
}

/* Would a quorum of i's views take what i holds? */
#define OBEYS(o,i) ((n[o].st == MEMBER && n[o].pe <= n[i].ce && (n[o].ce < n[i].ce || n[o].ce == n[i].ce && n[o].cs <= n[i].cs)) -> BIT(n[o].me) : 0)
#if N == 3
#define OBEDIENT(i) (OBEYS(0,i) | OBEYS(1,i) | OBEYS(2,i))
#else
#define OBEDIENT(i) (OBEYS(0,i) | OBEYS(1,i) | OBEYS(2,i) | OBEYS(3,i))
#endif
inline holders() {
	k = 0; q = 0;
	do
	:: k < N ->
		if :: n[k].hold && n[k].st == MEMBER && AGREE(k, OBEDIENT(k)) -> q++ :: else fi;
		k++
	:: else -> break
	od;
	MUST(one_holder_obeyed, q <= 1)
}

#if LEASE
/* Who may act on the thing: its owner as delivered, while its lease runs, when
   the waits of all view changes below the op that gave it are over. */
inline actors() {
	k = 0; r = 0;
	do
	:: k < N ->
		if
		:: n[k].st == MEMBER && n[k].lease > 0 ->
			y = 0; z = 1; w = 1; x = 0;  /* y: owner; z: free to act; w: waits so far over */
			do
			:: x < n[k].ln ->
				if
				:: ISVIEW(n[k].log[x]) ->
					if
#ifdef BREAK_LAUNDER
					:: x < n[k].dlv -> w = (n[k].fr[x] == 0)
#else
					:: x < n[k].dlv && n[k].fr[x] > 0 -> w = 0
#endif
					:: else
					fi
				:: KIND(n[k].log[x]) == OWN && x < n[k].dlv -> y = FROM(n[k].log[x]); z = w
				:: KIND(n[k].log[x]) == FREE && (x < n[k].dlv || FROM(n[k].log[x]) == n[k].me) -> y = 15
				:: else
				fi;
				x++
			:: else -> break
			od;
			if :: y == n[k].me && z -> r++ :: else fi
		:: else
		fi;
		k++
	:: else -> break
	od;
	x = 0; y = 0; z = 0; w = 0;
	MUST(one_actor, r <= 1)
}
#else
inline actors() { skip }
#endif

/* ---- the token ---- */

inline wipe(T) {
	T.fly = 0; T.to = 0; T.ln = 0; T.commit = 0; T.stable = 0; T.vis = 0; 
	k = 0;
	do :: k < LOGS -> T.log[k] = 0; k++ :: else -> break od
}

inline forget(T) {
	wipe(T);
	T.seq = 0; k = 0;
	do
	:: k < LOGS -> T.ack[k] = 0;
#if DISK
		T.dur[k] = 0;
#endif
		k++
	:: else -> break
	od;
#if LEASE
	k = 0;
	do :: k < M -> T.seen[k] = 0; k++ :: else -> break od;
#endif
	k = 0
}

/* Tokens that nobody holds and nobody will ever take are forgotten: fewer states. */
inline sweep() {
	e = 1;
	do
	:: e <= EPOCHS ->
		if
		:: t[e].fly ->
			q = ID(t[e].to);
			if
			:: n[q].me != t[e].to || n[q].st == DOWN || n[q].ce > e || (n[q].ce == e && n[q].cs >= t[e].seq) -> forget(t[e])
			:: else
			fi
		:: !t[e].fly && t[e].seq > 0 ->
			q = 0; r = 0;
			do :: q < N -> if :: n[q].hold && n[q].ce == e -> r = 1 :: else fi; q++ :: else -> break od;
			if :: r == 0 -> forget(t[e]) :: else fi
		:: else
		fi;
		e++
	:: else -> break
	od;
	e = 0; q = 0; r = 0; k = 0
}

/* ackMine */
inline ackMine(i) {
	e = n[i].ce; k = 0;
	do
	:: k < n[i].ln ->
		t[e].ack[k] = t[e].ack[k] | BIT(n[i].me);
#if DISK
#ifdef BREAK_DURACROSS
		if :: n[i].de && !n[i].keeps && k < n[i].dlen && n[i].dlog[k] == n[i].log[k] -> t[e].dur[k] = t[e].dur[k] | BIT(n[i].me) :: else fi;
#else
		if :: n[i].de == e && k < n[i].dlen -> t[e].dur[k] = t[e].dur[k] | BIT(n[i].me) :: else fi;
#endif
#endif
		k++
	:: else -> break
	od;
#if LEASE
	t[e].seen[n[i].me] = t[e].seq;
#endif
	k = 0
}

#if DISK && !defined(BREAK_MEMSETTLE)
#define DURABLE(e,k) t[e].dur[k]
#else
#define DURABLE(e,k) t[e].ack[k]
#endif
/* An acknowledgement by id: of a life that is over, too. */
#if LIVES > 1 && defined(BREAK_BYID)
#define WHO(s) ((s) | ((s) << N) | ((s) >> N))
#else
#define WHO(s) (s)
#endif

/* recount: raise commit and stable of the token that i holds, deliver. */
inline recount(i) {
	e = n[i].ce;
	do
	:: c0 = 0; q = n[i].ln;
		do
		:: q > n[i].commit ->
			if :: AGREE(i, WHO(t[e].ack[q-1])) -> n[i].commit = q; c0 = 1; break :: else -> q-- fi
		:: else -> break
		od;
		q = n[i].commit;
		do
		:: q > n[i].stable ->
			if :: AGREE(i, WHO(DURABLE(e,q-1))) -> n[i].stable = q; c0 = 1; break :: else -> q-- fi
		:: else -> break
		od;
		if :: c0 -> c0 = 0; refresh(i); e = n[i].ce :: else -> break fi
	od;
	note_commit(i);
#if DISK
	if :: n[i].stable > n[i].mst -> n[i].mst = n[i].stable :: else fi;
	/* A cold start that is not settled may yet fail; else what was ever on a
	   quorum's disks is in the log, and what is now must stay. */
	if
	:: !n[i].whole ->
		k = 0;
		do
		:: k < LOGS ->
			if
			:: gs[k] != 0 && n[i].ce >= gse[k] -> MUST(stable_kept, k < n[i].ln && n[i].log[k] == gs[k])
			:: gs[k] == 0 && k < n[i].stable -> gs[k] = n[i].log[k]; gse[k] = n[i].ce
			:: else
			fi;
			k++
		:: else -> break
		od
	:: else
	fi;
#endif
	e = 0; q = 0; k = 0; c0 = 0; s0 = 0; r = 0
}

inline leased(i) {
#if LEASE
	/* confirmLease: back in the same epoch, seen by a quorum after my pass. */
	e = n[i].ce; x = 0; k = 0;
	do
	:: k < M -> if :: t[e].seen[k] > n[i].ps1 -> x = x | BIT(k) :: else fi; k++
	:: else -> break
	od;
#ifdef BREAK_LEASEREMOVED
	if :: n[i].pe1 == e && AGREE(i, x) ->
#else
	if :: n[i].pe1 == e && (n[i].nv & BIT(n[i].me)) && AGREE(i, x) ->
#endif
#ifdef BREAK_LEASERETURN
		n[i].lease = LEASE
#else
		if :: LEASE > n[i].page && LEASE - n[i].page > n[i].lease -> n[i].lease = LEASE - n[i].page :: else fi
#endif
	:: else
	fi;
	e = 0; x = 0; k = 0
#else
	skip
#endif
}

/* check and accept. T: the message; ep: its epoch. */
#ifdef BREAK_EPOCH
#define NEWER(i,ep,T) (n[i].ce < ep || n[i].ce == ep && n[i].cs < T.seq || n[i].pe > ep)
#else
#ifdef BREAK_STAMP
#define NEWER(i,ep,T) (n[i].pe <= ep)
#else
#define NEWER(i,ep,T) (n[i].pe <= ep && (n[i].ce < ep || n[i].ce == ep && n[i].cs < T.seq))
#endif
#endif
#define TAKES(i,ep,T) (T.fly && T.to == n[i].me && (n[i].st == MEMBER || n[i].st == ADOPTED || n[i].st == COLDREADY) && GEN(n[i].ce) == GEN(ep) && NEWER(i,ep,T) && (T.vis & BIT(n[i].me)))

inline accept(i, ep, T) {
	k = 0;
	do
	:: k < n[i].dlv -> MUST(delivered_kept, k < T.ln && T.log[k] == n[i].log[k]); k++
	:: else -> break
	od;
	k = 0;
	do
	:: k < LOGS ->
#if LEASE
		/* firstAt: the wait of a view change is counted from its first acceptance. */
		if
		:: n[i].log[k] != T.log[k] -> n[i].fr[k] = (ISVIEW(T.log[k]) -> WAITS(T.log[k]) : 0)
		:: else
		fi;
#endif
		n[i].log[k] = T.log[k]; k++
	:: else -> break
	od;
	n[i].ln = T.ln; n[i].commit = T.commit; n[i].stable = T.stable;
	n[i].st = MEMBER;
	n[i].pe = ep; n[i].pt = 0; n[i].ce = ep; n[i].cs = T.seq; n[i].hold = 1;
	n[i].call = 0; n[i].got = 0; n[i].be = 0; n[i].bt = 0;
#if LEASE
	n[i].lage = 0; n[i].wm = 0; n[i].gage = 0;
#endif
	refresh(i);
	ackMine(i);
	recount(i);
	leased(i)
}

#define ACCEPT(i,ep) :: d_step { TAKES(i,ep,t[ep]) -> \
		printf("%d accepts (%d,%d)\n", i, ep, t[ep].seq); \
		accept(i, ep, t[ep]); wipe(t[ep]); sweep(); holders(); actors() }

#if DUPS
/* The network keeps a copy of what it delivers: it may come once more. */
#define DUPLICATE(ep) :: d_step { dups < DUPS && dupe == 0 && t[ep].fly -> printf("(%d,%d) will come twice\n", ep, t[ep].seq); dups++; dupe = ep; copy(dup, t[ep]) }
#define ACCEPTDUP(i) :: d_step { dupe != 0 && TAKES(i,dupe,dup) -> \
		printf("%d accepts the second (%d,%d)\n", i, dupe, dup.seq); \
		copy(t[c], dup); forget(dup); dupe = 0; \
		accept(i, c, t[c]); wipe(t[c]); sweep(); holders(); actors() }
inline copy(A, B) {
	A.fly = 1; A.to = B.to; A.seq = B.seq; A.ln = B.ln; A.commit = B.commit; A.stable = B.stable; A.vis = B.vis; k = 0;
	do :: k < LOGS -> A.log[k] = B.log[k]; A.ack[k] = B.ack[k]; k++ :: else -> break od;
#if LEASE
	k = 0;
	do :: k < M -> A.seen[k] = B.seen[k]; k++ :: else -> break od;
#endif
	k = 0
}
#endif

/* pass: append the choice, count, send; to == me: passToMyself. */
inline pass(i) {
	e = n[i].ce;
	t[e].seq++; n[i].cs = t[e].seq;
	if
	:: ch != 0 ->
		if
		:: KIND(ch) == VIEW ->
			views++;
#if LEASE
			n[i].fr[n[i].ln] = WAITS(ch);
#endif
		:: KIND(ch) == OP -> ops++
		:: else -> owns++
		fi;
		n[i].log[n[i].ln] = ch; n[i].ln++;
		refresh(i);
#ifdef BREAK_NAIVE
		/* Dynamic voting without the second phase: a view holds as soon as made. */
		if :: KIND(ch) == VIEW -> n[i].stable = n[i].ln; refresh(i) :: else fi;
#endif
	:: else
	fi;
	ackMine(i);
	recount(i);
	e = n[i].ce;
#if LEASE
	n[i].pe1 = e; n[i].ps1 = n[i].cs; n[i].page = 0; n[i].lage = 0; n[i].wm = 0;
#endif
	if
	:: to == n[i].me ->
#if LEASE
		if :: n[i].nv & BIT(n[i].me) -> n[i].lease = LEASE :: else fi;
#endif
		skip
	:: else ->
		n[i].hold = 0;
		t[e].fly = 1; t[e].to = to;
		t[e].ln = n[i].ln; t[e].commit = n[i].commit; t[e].stable = n[i].stable; t[e].vis = VIS(i);
		k = 0;
		do :: k < LOGS -> t[e].log[k] = n[i].log[k]; k++ :: else -> break od
	fi;
	printf("%d passes (%d,%d) to member %d, adds kind %d from %d members %x wait %d\n", i, n[i].ce, n[i].cs, to, KIND(ch), FROM(ch), MASK(ch), WAITS(ch));
	ch = 0; to = 0; sweep(); actors()
}

/* Which view change may be appended: any set of others is left out (whom the
   holder suspects is not modelled), as long as the rest is a quorum of today's;
   or one node that waits is let in, its former life goes with it. */
#define DROP(i,m) if :: (n[i].nv & BIT(m)) && (m) != n[i].me -> ch = ch & ~BIT(m) :: skip fi
#define LETIN(i,j) :: n[j].st == ADOPTED && GEN(n[j].ce) == GEN(n[i].ce) && !(n[i].nv & BIT(n[j].me)) -> to = n[j].me
#define DROPS(i) \
	do \
	:: b < M -> DROP(i,b); b++ \
	:: else -> break \
	od; b = 0
#if N == 3
#define LETSIN(i) LETIN(i,0) LETIN(i,1) LETIN(i,2)
#define EACH(A) A(0) A(1) A(2)
#define PICK(v) if :: v = 0 :: v = 1 :: v = 2 fi
#else
#define LETSIN(i) LETIN(i,0) LETIN(i,1) LETIN(i,2) LETIN(i,3)
#define EACH(A) A(0) A(1) A(2) A(3)
#define PICK(v) if :: v = 0 :: v = 1 :: v = 2 :: v = 3 fi
#endif

/* waitMade: a view made with its epoch need not wait the whole of it. */
#if LEASE
#if defined(BREAK_NOWAIT)
#define WAITFOR(i) 0
#else
#define WAITFOR(i) (n[i].wm -> n[i].wm-1 : WAIT)
#endif
#else
#define WAITFOR(i) 0
#endif

/* The ops of the thing: own when it is nobody's or its owner is out; free by its
   owner. Owner: as the log has it. */
inline owner(i) {
	y = 0; k = 0;
	do
	:: k < n[i].ln ->
		if :: KIND(n[i].log[k]) == OWN -> y = FROM(n[i].log[k]) :: KIND(n[i].log[k]) == FREE -> y = 15 :: else fi;
		k++
	:: else -> break
	od;
	k = 0
}
#if LEASE
#define OWNOPS(i) :: n[i].ln < LOGS && owns < OWNS && (n[i].nv & BIT(n[i].me)) -> \
		d_step { owner(i); \
			if :: y == n[i].me -> ch = ENTRY(FREE, n[i].me, 0, 0, 0) \
			   :: y != n[i].me && (y == 15 || !(n[i].nv & BIT(y))) -> ch = ENTRY(OWN, n[i].me, 0, 0, owns) \
			   :: else fi; y = 0 }
#else
#define OWNOPS(i)
#endif

/* The number makes two view changes of one maker two ops, even if they say the same. */
#ifdef BREAK_VIEWID
#define VIEWID 0
#else
#define VIEWID (views+1)
#endif

#define PASSTO(i,j) :: i != j && (VIS(i) & BIT(n[j].me)) -> to = n[j].me
#if N == 3
#define TARGETS(i) PASSTO(i,0) PASSTO(i,1) PASSTO(i,2)
#else
#define TARGETS(i) PASSTO(i,0) PASSTO(i,1) PASSTO(i,2) PASSTO(i,3)
#endif
#define PASS(i) :: atomic { n[i].st == MEMBER && n[i].hold && n[i].cs < SEQS -> \
		if \
		:: ch = 0 \
		:: n[i].ln < LOGS && ops < OPS && (n[i].nv & BIT(n[i].me)) -> ch = ENTRY(OP, n[i].me, 0, 0, ops) \
		:: n[i].ln < LOGS && views < VIEWS && !ISPENDING(i) -> \
			ch = n[i].nv; DROPS(i); \
			if :: ch != n[i].nv && QUORUM(n[i].nv, n[i].db, ch) -> ch = ENTRY(VIEW, n[i].me, ch, WAITFOR(i), VIEWID) :: else -> ch = 0 fi \
		:: LIVES > 1 && n[i].ln < LOGS && views < VIEWS && !ISPENDING(i) -> \
			if LETSIN(i) :: else -> to = 255 fi; \
			if :: to == 255 -> ch = 0 :: else -> ch = (n[i].nv & ~(BIT(ID(to)) | BIT(ID(to)+N))) | BIT(to); ch = ENTRY(VIEW, n[i].me, ch, WAITJOIN, VIEWID) fi; \
			to = 0 \
		OWNOPS(i) \
		fi; \
		if TARGETS(i) :: AGREE(i, BIT(n[i].me)) -> to = n[i].me :: else -> to = 255 fi; \
		if :: to == 255 -> ch = 0; to = 0 :: else -> d_step { pass(i) } fi }
#if LEASE
#define WAITJOIN WAIT
#else
#define WAITJOIN 0
#endif

#ifdef BREAK_NO911
/* A failed send is taken for a token that did not arrive: it goes to the next. */
#define RESEND(i,j) :: d_step { dups == 0 && n[i].st == MEMBER && !n[i].hold && n[i].ce != 0 && t[n[i].ce].fly && t[n[i].ce].seq == n[i].cs && t[n[i].ce].to != n[j].me && i != j && (VIS(i) & BIT(n[j].me)) -> \
		dups++; e = n[i].ce; dupe = e; copy(dup, t[e]); dup.to = n[j].me }
#endif

/* ---- 911 ---- */

#define NEXT(i) (n[i].pe >= n[i].ce && n[i].pe >= n[i].tried -> n[i].pe+1 : (n[i].ce >= n[i].tried -> n[i].ce+1 : n[i].tried+1))

/* startCall: a promise to myself. (A probe promises nothing: it is not modelled.) */
#define CALL(i) :: d_step { n[i].st == MEMBER && !n[i].hold && n[i].call == 0 && calls < CALLS && NEXT(i) <= EPOCHS && GEN(NEXT(i)) == GEN(n[i].ce) -> \
		calls++; printf("%d calls for epoch %d\n", i, NEXT(i)); \
		n[i].be = n[i].pe; n[i].bt = n[i].pt; \
		n[i].call = NEXT(i); n[i].tried = n[i].call; n[i].pe = n[i].call; n[i].pt = n[i].me+1; n[i].got = BIT(n[i].me); \
		note_call(i) }
#if LEASE
inline note_call(i) { n[i].gage = n[i].lage }
#else
inline note_call(i) { skip }
#endif

/* abandon: denied, or nobody answers. What I promised to myself is void. */
#define ABANDON(i) :: d_step { n[i].call != 0 -> \
		printf("%d abandons its call\n", i); \
		if :: n[i].pe == n[i].call && n[i].pt == n[i].me+1 -> n[i].pe = n[i].be; n[i].pt = n[i].bt :: else fi; \
		n[i].call = 0; n[i].got = 0; n[i].be = 0; n[i].bt = 0; note_over(i) }
#if LEASE
inline note_over(i) { n[i].gage = 0 }
#else
inline note_over(i) { skip }
#endif

/* onCall at o, from caller i: grant, unless my copy is newer, or equal and I hold
   the token, or I promised. */
#ifdef BREAK_OLDCOPY
#define OLDER(i,o) 0
#else
#define OLDER(i,o) (n[i].ce < n[o].ce || n[i].ce == n[o].ce && n[i].cs < n[o].cs)
#endif
#ifdef BREAK_HOLDGRANT
#define HOLDS(i,o) 0
#else
#define HOLDS(i,o) (n[o].hold && n[i].ce == n[o].ce && n[i].cs == n[o].cs)
#endif
#define GRANT(o,i) :: d_step { o != i && n[i].call != 0 && n[o].st == MEMBER && GEN(n[o].ce) == GEN(n[i].ce) && (VIS(o) & BIT(n[i].me)) && (VIS(i) & BIT(n[o].me)) && \
		!(n[i].got & BIT(n[o].me)) && !OLDER(i,o) && !HOLDS(i,o) && n[o].pe < n[i].call -> \
		printf("%d grants %d\n", o, i); \
		promise(o, i); \
		n[i].got = n[i].got | BIT(n[o].me); sweep() }
inline promise(o, i) {
#ifndef BREAK_NOPROMISE
	n[o].pe = n[i].call; n[o].pt = n[i].me+1;
#endif
#ifndef BREAK_HOLDGRANT
	n[o].hold = 0;
#endif
	n[o].call = 0; n[o].got = 0; n[o].be = 0; n[o].bt = 0;
#if LEASE
	n[o].wm = 0; n[o].gage = 0;
#ifdef BREAK_OLDAGE
	if :: n[o].lage > n[i].gage -> n[i].gage = n[o].lage :: else fi
#else
	if :: n[o].lage < n[i].gage -> n[i].gage = n[o].lage :: else fi
#endif
#endif
}

/* make: with the grants of a quorum, from my own copy. */
#ifdef BREAK_NOQUORUM
#define ENOUGH(i) (COUNT(n[i].got) > 1)
#else
#define ENOUGH(i) AGREE(i, WHO(n[i].got))
#endif
#define MAKE(i) :: d_step { n[i].call != 0 && n[i].pe == n[i].call && n[i].pt == n[i].me+1 && ENOUGH(i) -> \
		printf("%d makes epoch %d\n", i, n[i].call); \
		carry(i); \
		n[i].ce = n[i].call; n[i].cs = 0; n[i].hold = 1; \
		note_made(i); t[n[i].ce].made = n[i].me+1; \
		note_wait(i); \
		n[i].call = 0; n[i].got = 0; n[i].be = 0; n[i].bt = 0; sweep(); holders(); actors() }
inline carry(i) {
#ifdef BREAK_ACKMIX
	/* Acknowledgements of the epoch before go on counting. */
	e = n[i].call; k = 0;
	do :: k < LOGS -> t[e].ack[k] = t[n[i].ce].ack[k]; k++ :: else -> break od;
	k = 0
#else
	skip
#endif
}
#if LEASE
inline note_wait(i) {
	n[i].wm = (WAIT > n[i].gage -> WAIT - n[i].gage + 1 : 1);
	n[i].lage = 0; n[i].gage = 0; n[i].pe1 = 0; n[i].ps1 = 0
}
#else
inline note_wait(i) { skip }
#endif

/* ---- life and death ---- */

inline die(i) {
	n[i].st = DOWN; n[i].pe = 0; n[i].pt = 0; n[i].ce = 0; n[i].cs = 0; n[i].hold = 0;
	n[i].ln = 0; n[i].commit = 0; n[i].stable = 0; n[i].dlv = 0; n[i].call = 0; n[i].got = 0; n[i].be = 0; n[i].bt = 0; n[i].tried = 0;
	k = 0;
	do
	:: k < LOGS ->
		n[i].log[k] = 0;
#if LEASE
		n[i].fr[k] = 0;
#endif
		k++
	:: else -> break
	od;
#if LEASE
	n[i].lease = 0; n[i].pe1 = 0; n[i].ps1 = 0; n[i].page = 0; n[i].lage = 0; n[i].gage = 0; n[i].wm = 0;
#endif
#if DISK
	n[i].mst = 0; n[i].tainted = 0; n[i].keeps = 0;
#endif
	refresh(i)
}

/* A process dies, or ends itself (Effects.Restart). */
#ifdef BREAK_AMNESIA
/* It comes back at once as who it was, with nothing, and answers as a member. */
#define CRASH(i) :: d_step { n[i].st == MEMBER && crashes < CRASHES -> crashes++; printf("%d dies\n", i); die(i); n[i].st = MEMBER; n[i].ce = 1; n[i].pe = 1; sweep() }
#else
#define CRASH(i) :: d_step { n[i].st != DOWN && crashes < CRASHES -> crashes++; printf("%d dies\n", i); die(i); sweep() }
#endif

#if LIVES > 1
#define RESTART(i) :: d_step { n[i].st == DOWN && n[i].me + N < M -> n[i].me = n[i].me + N; n[i].st = SEEK; printf("%d starts as member %d\n", i, n[i].me); wake(i); refresh(i) }
/* fetched, adopt: the state of a member, up to what it has delivered. */
#ifdef BREAK_JOINSTAMP
#define STAMPOF(j,i) n[j].ce = FIRST(GEN(n[i].ce)); n[j].cs = 0; n[j].pe = n[j].ce
#else
#define STAMPOF(j,i) n[j].ce = n[i].ce; n[j].cs = n[i].cs; n[j].pe = (n[j].pe > n[i].ce -> n[j].pe : n[i].ce)
#endif
#define ADOPT(j,i) :: d_step { j != i && n[j].st == SEEK && n[i].st == MEMBER && !VOTED(j) -> \
		printf("%d adopts a snapshot of %d up to %d\n", j, i, n[i].dlv); \
		n[j].st = ADOPTED; STAMPOF(j,i); \
		k = 0; \
		do :: k < n[i].dlv -> n[j].log[k] = n[i].log[k]; k++ :: else -> break od; \
		do :: k < LOGS -> n[j].log[k] = 0; k++ :: else -> break od; \
		n[j].ln = n[i].dlv; n[j].dlv = n[i].dlv; n[j].commit = n[i].dlv; \
		n[j].stable = (n[i].stable < n[i].dlv -> n[i].stable : n[i].dlv); \
		adopted(j); refresh(j) }
#else
#define RESTART(i)
#define ADOPT(j,i)
#endif

#if DISK
#define VOTED(j) n[j].tainted
inline wake(i) {
	k = 0;
	do :: k < n[i].dlen -> n[i].log[k] = n[i].dlog[k]; k++ :: else -> break od;
	k = 0;
	n[i].ln = n[i].dlen; n[i].stable = n[i].dst; n[i].mst = n[i].dst
}
inline adopted(j) {
#if LEASE
	skip;
#endif
	n[j].mst = n[j].stable; n[j].keeps = 1;
#ifdef BREAK_JOINDISK
	todisk(j)
#endif
}
inline todisk(i) {
	n[i].de = n[i].ce; n[i].dlen = n[i].ln; n[i].dst = n[i].mst; n[i].keeps = 0; k = 0;
	do :: k < LOGS -> n[i].dlog[k] = n[i].log[k]; k++ :: else -> break od;
	k = 0
}
/* A sync ends: epoch, log and stable are on disk together. A joiner's first one
   is after its first accepted token. */
#define SYNC(i) :: d_step { n[i].st == MEMBER && !(n[i].de == n[i].ce && n[i].dlen == n[i].ln && n[i].dst == n[i].mst) -> todisk(i); printf("%d has epoch %d up to %d on disk\n", i, n[i].de, n[i].dlen) }

/* ---- cold start: disks vote ---- */

/* tryCold: a generation of its own for each try, on disk before asking. */
#define CGEN(i) (GEN(n[i].de) >= (n[i].dp -> GEN(n[i].dp) : 0) -> GEN(n[i].de)+1 : GEN(n[i].dp)+1)
#ifdef BREAK_COLDREUSED
#define CTRY(i) (GEN(n[i].de)+1)
#else
#define CTRY(i) CGEN(i)
#endif
#define COLDTRY(i) :: d_step { n[i].st == SEEK && n[i].de != 0 && CTRY(i) < GENS -> \
		printf("%d calls for a cold start, epoch %d\n", i, FIRST(CTRY(i))); \
		n[i].st = COLDCALL; n[i].dp = FIRST(CTRY(i)); n[i].call = n[i].dp; n[i].got = BIT(n[i].me); n[i].tainted = 1 }
/* onColdCall: not to a disk that is older than mine, not below my promise. */
#define DISKOLDER(i,o) (n[i].de < n[o].de || n[i].de == n[o].de && n[i].dlen < n[o].dlen)
#define COLDVOTE(o,i) :: d_step { o != i && n[i].st == COLDCALL && (n[o].st == SEEK || n[o].st == COLDCALL || n[o].st == COLDGRANT) && n[o].de != 0 && \
		n[i].call > n[o].dp && !DISKOLDER(i,o) -> \
		printf("%d gives %d its disk's vote\n", o, i); \
		n[o].st = COLDGRANT; n[o].dp = n[i].call; n[o].call = 0; n[o].got = 0; n[o].tainted = 1; n[o].pe = n[i].call; n[o].pt = n[i].me+1; \
		n[i].got = n[i].got | BIT(n[o].me) }
/* coldQuorum and coldMake: a quorum, by id, of the views in force of my disk. */
inline ids(s, out) { out = ((s) | ((s)>>N) | ((s)>>(2*N))) & ALL; out = out | (out << N) | (out << (2*N)); out = out & ((1<<M)-1) }
#ifdef BREAK_COLDMAJ
#define COLDENOUGH(i) (QUORUM(n[i].fa,n[i].da,z) && QUORUM(n[i].fb,n[i].db,z))
#else
#define COLDENOUGH(i) AGREE(i,z)
#endif
#define COLDMAKE(i) :: d_step { n[i].st == COLDCALL && n[i].ln < LOGS && COUNT(n[i].got) > 1 -> \
		ids(n[i].got, z); \
		if :: COLDENOUGH(i) -> y = 1 :: else -> y = 0 fi; \
		if :: y -> \
			printf("%d makes the cold view %x of members, log up to %d\n", i, n[i].got, n[i].ln); \
			n[i].ce = n[i].call; n[i].cs = 0; n[i].pe = n[i].call; n[i].pt = n[i].me+1; \
			n[i].commit = n[i].ln; n[i].stable = n[i].ln; n[i].dlv = n[i].ln; n[i].mst = n[i].ln; \
			MUST(one_maker_per_epoch, t[n[i].ce].made == 0); t[n[i].ce].made = n[i].me+1; \
			n[i].log[n[i].ln] = ENTRY(COLD, n[i].me, n[i].got, 0, GEN(n[i].ce)); n[i].ln++; \
			n[i].st = COLDMADE; n[i].call = 0; n[i].got = BIT(n[i].me); refresh(i) \
		:: else fi; z = 0; y = 0 }
/* onColdMade: a granter takes the maker's snapshot and shows it. */
#define COLDTAKE(o,i) :: d_step { o != i && n[o].st == COLDGRANT && n[i].st == COLDMADE && n[o].dp == n[i].ce && n[o].pt == n[i].me+1 && (n[i].nv & BIT(n[o].me)) -> \
		n[o].st = COLDREADY; printf("%d has the log of cold maker %d\n", o, i); n[o].ce = n[i].ce; n[o].cs = 0; k = 0; \
		do :: k < LOGS -> n[o].log[k] = (k < n[i].dlv -> n[i].log[k] : 0); k++ :: else -> break od; \
		n[o].ln = n[i].dlv; n[o].dlv = n[i].dlv; n[o].commit = n[i].dlv; n[o].stable = n[i].dlv; n[o].mst = n[i].dlv; n[o].keeps = 1; \
		n[i].got = n[i].got | BIT(n[o].me); refresh(o) }
/* coldStartIfReady */
#define COLDGO(i) :: d_step { n[i].st == COLDMADE && n[i].got == n[i].nv -> printf("%d lets the cold token go\n", i); n[i].st = MEMBER; n[i].got = 0; n[i].hold = 1; holders() }
#else
#define VOTED(j) 0
inline wake(i) { skip }
inline adopted(j) { skip }
#define SYNC(i)
#define COLDTRY(i)
#define COLDVOTE(o,i)
#define COLDMAKE(i)
#define COLDTAKE(o,i)
#define COLDGO(i)
#endif

#if LEASE
#define DEC(v) v = (v > 0 -> v-1 : 0)
#define INC(v) v = (v < WAIT+1 -> v+1 : v)
#define TICK1(i) DEC(n[i].lease); INC(n[i].page); INC(n[i].lage); if :: n[i].call -> INC(n[i].gage) :: else fi; \
	k = 0; do :: k < LOGS -> DEC(n[i].fr[k]); k++ :: else -> break od;
#define TICK :: d_step { printf("tick\n"); EACH(TICK1) actors() }
#else
#define TICK
#endif

#if EPOCHS == 2
#define PICKEPOCH(v) if :: v = 1 :: v = 2 fi
#elif EPOCHS == 3
#define PICKEPOCH(v) if :: v = 1 :: v = 2 :: v = 3 fi
#elif EPOCHS == 4
#define PICKEPOCH(v) if :: v = 1 :: v = 2 :: v = 3 :: v = 4 fi
#elif EPOCHS == 6
#define PICKEPOCH(v) if :: v = 1 :: v = 2 :: v = 3 :: v = 4 :: v = 5 :: v = 6 fi
#endif

init {
	d_step {
		k = 0;
		do
		:: k < N ->
			n[k].st = MEMBER; n[k].me = k; n[k].ce = 1; n[k].pe = 1;
#if DISK
			n[k].de = 1;
#endif
			k++
		:: else -> break
		od;
#define FRESH(i) refresh(i);
		EACH(FRESH)
		n[0].hold = 1; t[1].made = 1; k = 0; q = 0; r = 0; s0 = 0
	};
	/* Who does it, with whom, is chosen first; if it cannot, nothing happens. */
	do
	:: atomic { PICK(a); PICKEPOCH(c);
		if
		ACCEPT(a,c)
		:: else
		fi; a = 0; c = 0 }
	:: atomic { PICK(a);
		if
		PASS(a)
		CALL(a)
		ABANDON(a)
		MAKE(a)
		CRASH(a)
		RESTART(a)
		SYNC(a)
		COLDTRY(a)
		COLDMAKE(a)
		COLDGO(a)
		:: else
		fi; a = 0 }
	:: atomic { PICK(a); PICK(b);
		if
		:: a == b
		GRANT(a,b)
		ADOPT(a,b)
		COLDVOTE(a,b)
		COLDTAKE(a,b)
#ifdef BREAK_NO911
		RESEND(a,b)
#endif
		:: else
		fi; a = 0; b = 0 }
	TICK
#if DUPS
	:: atomic { PICKEPOCH(c); if DUPLICATE(c) :: else fi; c = 0 }
	:: atomic { PICK(a); c = dupe; if ACCEPTDUP(a) :: else fi; a = 0; c = 0 }
#endif
	od
}
