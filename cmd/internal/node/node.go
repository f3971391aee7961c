package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"rain/cmd/internal/cli"
	"rain/cmd/internal/witness"
	"rain/conf"
	"rain/ring"
	"rain/ring/host"
	"rain/ring/host/bulk"
	"rain/ring/host/transport"
	"rain/ring/roster"
	"rain/ring/settings"
	"rain/snow"
	"rain/snow/accesslog"
	"rain/snow/admin"
	"rain/snow/queue"
	"rain/snow/site"
	"rain/store"
	"rain/video"
	"rain/vip"
	"rain/vip/table"
)

// slowNet is from which lease on big bytes give way to the token: with the times of
// preset wan. On a faster net a late token mostly means processors that have no time,
// and giving way to them cost puts of 64 MiB a quarter of their speed.
const slowNet = 400 * time.Millisecond

// node is all parts of one running node.
type node struct {
	file    *conf.File
	log     *slog.Logger
	started time.Time
	timing  ring.Timing

	host     *host.Node
	tr       *transport.Transport
	server   *bulk.Server
	client   *bulk.Client
	pacer    *bulk.Pacer // nil: none
	store    *store.Store
	vips     *table.Rider
	requests *queue.Rider
	driver   vip.Driver
	manager  *vip.Manager
	web      *snow.Server
	effects  *effects
	video    *video.Server
	streams  *streams
	admin    *admin.Server
	metrics  *metricSet
	known    *directory
	roster   *roster.Rider
	settings *settings.Rider
	// filePools are those of this node's file: proposed to a new cluster.
	filePools []table.Pool
	book      *peerBook
	stop      context.CancelCauseFunc // ends Run, as a signal would
	reopen    <-chan struct{}         // open the logs anew

	mu       sync.Mutex
	draining bool
	placed   map[ring.NodeID][]netip.AddrPort // what the layers below were told
	unlisted string                           // why the roster does not take this node
	keys     []conf.Secret                    // the first seals

	alone alone

	witnessAway atomic.Pointer[string] // why it does not answer; nil: it does, or there is none
}

// Run runs the node that file describes until ctx ends; then it hands over what
// it holds, finishes requests, leaves the ring and returns nil, at the latest
// after drain_timeout. A value from reopen makes it open its access log anew.
func Run(ctx context.Context, file *conf.File, log *slog.Logger, reopen <-chan struct{}) error {
	raisePriority(log)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	n, closers, err := build(ctx, file, log)
	defer func() {
		for i := len(closers) - 1; i >= 0; i-- {
			closers[i]()
		}
	}()
	if err != nil {
		return err
	}
	n.reopen, n.stop = reopen, stop
	return n.run(ctx)
}

// build makes the parts in order. closers undo what was made, in reverse.
func build(ctx context.Context, file *conf.File, log *slog.Logger) (n *node, closers []func(), err error) {
	n = &node{
		file: file, log: log, started: time.Now(), known: newDirectory(file), metrics: newMetrics(),
		roster: roster.NewRider(), settings: settings.NewRider(), book: openBook(file.Path, log), placed: map[ring.NodeID][]netip.AddrPort{},
		keys: append([]conf.Secret{file.Cluster.Key}, file.Cluster.OldKeys...),
	}
	timing, ok := ring.Preset(file.Cluster.Preset)
	if !ok {
		return nil, nil, cli.New(cli.BadInput, "bad_config", "", "cluster.preset: no preset %q", file.Cluster.Preset)
	}
	n.timing = timing
	if err := os.MkdirAll(file.Node.Data, 0o700); err != nil {
		return nil, nil, fmt.Errorf("node: data folder: %w", err)
	}
	for _, step := range []func(context.Context) (func(), error){
		n.buildStoreAndRing, n.buildTransport, n.buildBulk, n.buildVIP, n.buildWeb, n.buildEffects, n.buildVideo, n.buildAdmin,
	} {
		closer, err := step(ctx)
		if closer != nil {
			closers = append(closers, closer)
		}
		if err != nil {
			return nil, closers, err
		}
	}
	return n, closers, nil
}

func (n *node) buildStoreAndRing(context.Context) (func(), error) {
	cfg := store.DefaultConfig()
	cfg.Dir = filepath.Join(n.file.Node.Data, "store")
	cfg.ReserveBytes = n.file.Store.ReserveBytes
	cfg.Code = store.Code(n.file.Store.Code)
	cfg.RebuildAfter = n.file.Store.RebuildAfter
	services := &laterServices{}
	st, err := store.New(cfg, store.Deps{Ring: storeRing{n}, Peers: storePeers{n}, Services: services}, n.log.With("layer", "store"))
	if err != nil {
		return nil, err
	}
	n.store = st
	n.vips = table.NewRider()
	n.requests = newRequests(st.Rider())
	if n.streams, err = newStreams(n); err != nil {
		return nil, err
	}
	if n.timing.Lease >= slowNet {
		n.pacer = bulk.NewPacer(n.timing)
	}
	hc := host.Config{
		ID: n.file.Node.ID, Name: n.file.Node.Name, Data: filepath.Join(n.file.Node.Data, "ring"),
		Key: n.file.Cluster.Key, Founders: n.file.Cluster.Founders, Timing: n.timing, Aggressive: n.file.Cluster.Detection == "aggressive",
	}
	for _, l := range n.file.Links {
		hc.Links = append(hc.Links, host.Link{Name: l.Name, Listen: l.Listen})
	}
	for _, p := range n.peers() {
		hc.Peers = append(hc.Peers, host.Peer{ID: p.ID, Name: p.Name, Links: p.Links})
	}
	hc.RowVersion, hc.OnRotation = rowVersion, n.pacer.Rotation
	if n.file.Cluster.Policy == "witness" {
		hc.Policy, hc.Witness = ring.PolicyWitness, n.askWitness
	}
	if len(n.file.Cluster.Founders) == 1 {
		hc.Met = n.book.met() // else the founders' majority speaks for itself
	}
	n.host, err = host.Open(hc, []host.RiderReg{
		{ID: ring.RiderVIP, Rider: n.vips}, {ID: ring.RiderCatalog, Rider: st.Rider()},
		{ID: ring.RiderQueue, Rider: n.requests}, {ID: ring.RiderStreams, Rider: n.streams.rider},
		{ID: ring.RiderRoster, Rider: n.roster}, {ID: ring.RiderSettings, Rider: n.settings},
	}, n.log.With("layer", "ring"))
	n.known.services = services
	return nil, err
}

func (n *node) buildTransport(context.Context) (func(), error) {
	cfg := transport.DefaultConfig()
	cfg.Key, cfg.OldKeys = n.keyBytes()
	cfg.SendTimeout = n.timing.SendTimeout
	if !n.file.Cluster.Relay {
		cfg.Relays = 0
	}
	for _, l := range n.file.Links {
		cfg.Links = append(cfg.Links, transport.Link{Name: l.Name, Listen: l.Listen})
	}
	tr, err := transport.Open(cfg, n.host.Self(), n.log.With("layer", "transport"))
	if err != nil {
		return nil, err
	}
	n.tr = tr
	return tr.Close, nil
}

func (n *node) buildBulk(ctx context.Context) (func(), error) {
	cfg := bulk.DefaultConfig()
	cfg.Key, cfg.OldKeys = n.keyBytes()
	cfg.ID, cfg.Door, cfg.Pacer = n.file.Node.ID, n.answerDoor, n.pacer
	for _, l := range n.file.Links {
		cfg.Listen = append(cfg.Listen, l.Listen)
	}
	if n.file.Fault.Allow {
		cfg.Gate = n.tr
	}
	server, err := bulk.NewServer(cfg, n.log.With("layer", "bulk"))
	if err != nil {
		return nil, err
	}
	n.server = server
	if n.client, err = bulk.NewClient(cfg.Key, cfg.ID); err == nil {
		err = n.client.SetKeys(cfg.Key, cfg.OldKeys...)
	}
	if err != nil {
		return server.Close, err
	}
	n.client.SetGate(cfg.Gate)
	n.client.SetLocal(cfg.Listen)
	n.client.SetRoutes(n.bulkRoutes)
	n.client.SetOnThin(n.thinWay)
	n.client.SetPacer(n.pacer)
	for _, p := range n.peers() {
		n.setPeer(p.ID, p.Links)
	}
	n.known.services.attach(server)
	server.Handle(host.SnapshotService, n.host.ServeSnapshot)
	server.Handle(keyService, n.serveKeys)
	if w := n.file.Cluster.WitnessAddr(); w.IsValid() {
		n.client.SetPeer(witness.ID, []netip.AddrPort{w})
	}
	n.fetchKeys(ctx)
	if err := n.refuseTwin(ctx); err != nil {
		return func() { n.client.Close(); server.Close() }, err
	}
	n.host.Attach(n.tr, n.client)
	return func() { n.client.Close(); server.Close() }, nil
}

func (n *node) buildVIP(ctx context.Context) (func(), error) {
	cfg := vip.DefaultConfig()
	cfg.Driver = n.file.VIP.Driver
	cfg.Port = uint16(n.file.Web.VIPPort)
	cfg.Lease = n.timing.Lease
	cfg.EndTold = n.file.Cluster.Policy != "any" // there it may be another lease than the ring's that ends
	cfg.Name = n.known.name
	for _, p := range n.file.VIP.Pools {
		pool := vip.PoolConfig{Name: p.Name, Interface: p.Interface}
		for _, a := range p.Addresses {
			pool.Addresses = append(pool.Addresses, a.String())
		}
		cfg.Pools = append(cfg.Pools, pool)
	}
	driver, closer, err := newDriver(ctx, cfg, webLeaver{n}, n.log.With("layer", "vip"))
	if err != nil {
		return closer, err
	}
	n.driver = driver
	if n.filePools, err = vip.ParsePools(cfg.Pools); err != nil {
		return closer, err
	}
	n.manager, err = vip.New(cfg, vipRing{n}, driver, n.vips, n.serveVIP, n.log.With("layer", "vip"))
	if err != nil {
		return closer, err
	}
	n.host.OnLease(n.renewVIPs)
	return closer, nil
}

func (n *node) buildWeb(context.Context) (func(), error) {
	cfg := snow.DefaultConfig()
	cfg.NodeName, cfg.NodeHeader = n.file.Node.Name, n.file.Web.NodeHeader
	cfg.AccessLog, cfg.AccessFormat = n.file.Web.AccessLog, accesslog.Format(n.file.Web.AccessFormat)
	web, err := snow.New(cfg, snow.Deps{Content: n.store, Cluster: webCluster{n}, Metrics: n.metrics, Queue: n.webQueue()}, n.log.With("layer", "web"))
	n.web = web
	return nil, err
}

func (n *node) serveVIP(_ context.Context, ln net.Listener, addr netip.Addr) error {
	return n.web.ServeVIP(ln, addr)
}

func (n *node) buildAdmin(context.Context) (func(), error) {
	cfg := admin.DefaultConfig()
	cfg.Node, cfg.Listen, cfg.Token = n.file.Node.Name, n.file.Admin.Listen.String(), string(n.file.Admin.Token)
	cfg.MetricsPublic, cfg.Fault = n.file.Admin.MetricsPublic, n.file.Fault.Allow
	deps := admin.Deps{
		Status: n, Store: n.store, Symbols: n.store, Keeper: keeper{n}, Sites: site.NewPublisher(n.store, time.Now, newVersionToken), Videos: films{n.video}, Cluster: clusterActions{n}, Membership: membership{n}, Settings: clusterSettings{n}, Fault: faults{n}, Effects: n.effects.service, Fresh: n.effects.fresh.ensure, Metrics: n.writeMetrics, Viewed: n.streams.viewed, Links: n.allLinks,
	}
	n.livePage(&cfg, &deps)
	srv, err := admin.New(cfg, deps, n.log.With("layer", "admin"))
	n.admin = srv
	return nil, err
}

// listen opens an address that the file names.
func listen(ctx context.Context, what string, at netip.AddrPort) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("node: %s %s: %w", what, at, err)
	}
	return ln, nil
}

var errRingEnded = errors.New("node: the ring's loop ended")
