// What the page knows of the cluster. It keeps a stream open to every node whose
// address it knows: a whole one to the node it looks through (the lead), and to
// the others one of ring, members and links, so that it sees whom they see, has
// all their logs, and can look through another one at once when the lead dies.
import { Stream } from './stream.js'
import { byName, merge } from './journal.js'
import { dropToken, keepToken } from './token.js'

const SOME = 'summary,ring,members,links'
const LATE = 1250 // ms of silence, after which the others' word about the lead counts
export const SECONDS = 300 // of the charts

export class Cluster {
  lead = $state('') // admin URL
  access = $state('none') // none, asking, ok, denied
  status = $state.raw(null) // of the lead
  nodes = $state.raw({}) // by admin URL: {url, name, stream, hello, ring, members, links, beat, rate, took}
  events = $state.raw([])
  beats = $state.raw([]) // of the charts, one a second
  moved = $state.raw(null) // {from, to, why} when the page went to another node by itself
  said = $state('') // for screen readers
  films = $state.raw({}) // seconds by name

  #streams = new Map()
  #drift = new Map()
  #token = ''
  #fresh = new Set() // URLs whose stream has begun and not told its status yet

  constructor(home) {
    this.home = home
    setInterval(() => this.#tick(), 1000)
  }

  get token() { return this.#token }
  get me() { return this.nodes[this.lead] }
  get name() { return this.status?.node ?? this.me?.name ?? '' }
  get members() { return this.status?.members ?? [] }
  get names() { return new Map(this.members.map(m => [m.id, m.name])) }
  get turns() { return this.me?.beat?.rotations_per_s ?? this.status?.ring.rotations_per_s ?? 0 }
  get hop() { return this.me?.beat?.hop_p50_us ?? this.status?.ring.hop_p50_us ?? 0 }
  get connected() { return this.me?.stream === 'open' }
  get faults() { return this.me?.hello?.faults ?? false }
  get control() { return Object.values(this.nodes).find(n => n.hello?.control)?.hello.control ?? '' }
  get isolated() { return this.status?.ring.state === 'isolated' }

  of(name) {
    const m = this.members.find(x => x.name === name)
    return Object.values(this.nodes).find(n => n.name === name || m?.admin && n.url === origin(m.admin))
  }

  // looks says how a member is, by all that is known of it: up, draining,
  // isolated, joining, frozen, dead, down.
  looks(m) {
    const n = this.of(m.name)
    const own = n?.stream === 'open' ? n.ring?.state : ''
    if (m.name === this.name) return this.connected ? (own === 'member' ? m.state : own || m.state) : n?.stream === 'silent' ? 'frozen' : 'dead'
    if (this.isolated && own === 'member') return 'apart' // this node's word is old
    if (m.state !== 'down' && !this.isolated) return m.state
    if (own === 'member') return n.ring.primary ? 'joining' : 'isolated'
    if (own) return own
    if (n?.stream === 'silent') return 'frozen'
    if (n?.stream === 'refused') return 'dead'
    return 'down'
  }

  start(token) {
    this.#token = token
    this.access = 'asking'
    this.#open(this.home, true)
    this.lead = this.home
  }

  login(token) {
    keepToken(token)
    this.stop()
    this.start(token)
  }

  stop() {
    for (const s of this.#streams.values()) s.close()
    this.#streams.clear()
  }

  // look makes url the lead.
  look(url, byHand = true) {
    if (url === this.lead) return
    const old = this.lead
    this.lead = url
    if (byHand) this.moved = null
    this.#open(old, false)
    this.#open(url, true)
  }

  #open(url, whole) {
    const old = this.#streams.get(url)
    old?.close()
    if (!this.nodes[url]) this.nodes = { ...this.nodes, [url]: { url, name: '', stream: 'connecting' } }
    this.#streams.set(url, new Stream(url, this.#token, whole ? '' : SOME, old?.after, old?.state === 'open' ? 'open' : '', (kind, data) => this.#hear(url, kind, data)))
  }

  // What only drifts waits for the next second, to be drawn all at once.
  #later(url, change) { this.#drift.set(url, { ...this.#drift.get(url), ...change }) }

  #set(url, change) { this.nodes = { ...this.nodes, [url]: { ...this.nodes[url], ...change } } }

  #hear(url, kind, data) {
    const n = this.nodes[url]
    if (kind === 'state') return this.#stream(url, data)
    if (kind === 'hello') {
      this.access = 'ok'
      this.#fresh.add(url)
      return this.#set(url, { hello: data, name: data.node })
    }
    if (kind === 'status') {
      const { ring, members, links } = data
      if (links && !ring && !members && shape(links) === shape(n.links)) this.#later(url, { links })
      else this.#set(url, { ...(ring && { ring }), ...(members && { members }), ...(links && { links }) })
      if (url === this.lead) this.#status(data)
      else {
        this.#fresh.delete(url)
        if (members) this.#doubt()
      }
      return
    }
    if (kind === 'event') {
      const next = merge(this.events, n.name, n.hello?.life, data)
      if (next !== this.events) this.events = next
      return
    }
    if (kind === 'beat') {
      const t = Date.parse(data.time), b = this.#drift.get(url)?.beat ?? n.beat
      const s = b ? (t - Date.parse(b.time)) / 1000 : 0
      const asked = b ? data.requests_total - b.requests_total : 0
      this.#later(url, {
        beat: data,
        rate: s > 0 && asked >= 0 ? asked / s : 0,
        took: asked > 0 ? (data.request_ms_total - b.request_ms_total) / asked : 0,
      })
    }
  }

  #status(data) {
    const before = this.status
    // The first one of a stream has all parts, the later ones what is new.
    const whole = this.#fresh.delete(this.lead)
    this.status = whole ? data : { ...before, ...data }
    if (data.sentence && data.sentence !== before?.sentence) this.said = data.sentence
    if (data.members) {
      for (const m of data.members) {
        const url = m.admin && origin(m.admin)
        if (!url) continue
        if (!this.#streams.has(url)) this.#open(url, false)
        if (m.state !== 'down') this.#streams.get(url).again()
      }
    }
    if (data.streams?.some(s => !(s.film in this.films))) this.#askFilms(data.streams)
  }

  #stream(url, state) {
    this.#set(url, { stream: state })
    if (state === 'denied') {
      if (this.access !== 'ok' || url === this.home) {
        this.access = 'denied'
        dropToken()
        this.stop()
      }
      return
    }
    if (url === this.lead && (state === 'refused' || state === 'silent' || state === 'busy')) this.#next(state)
  }

  // doubt asks the others about a lead that has become silent.
  #doubt() {
    const s = this.#streams.get(this.lead), name = this.me?.name
    if (!s || !name || performance.now() - s.heard < LATE) return
    const away = Object.values(this.nodes).some(n => n.url !== this.lead && n.stream === 'open' && n.ring?.primary && n.members?.some(m => m.name === name && m.state === 'down'))
    if (away) this.#next('silent')
  }

  // next looks through another node, best one of the primary view.
  #next(why) {
    const rest = Object.values(this.nodes).filter(n => n.url !== this.lead && n.stream === 'open')
    const to = rest.find(n => n.ring?.primary) ?? rest[0]
    if (!to) return
    const from = this.me?.name || this.lead
    this.moved = { from, to: to.name, why, at: Date.now() }
    this.said = `${from} does not answer; this page now looks through ${to.name}.`
    this.look(to.url, false)
  }

  #tick() {
    if (this.access !== 'ok') return
    this.#doubt()
    if (['refused', 'silent', 'busy'].includes(this.me?.stream)) this.#next(this.me.stream)
    const nodes = { ...this.nodes }
    for (const [url, change] of this.#drift) nodes[url] = { ...nodes[url], ...change }
    this.#drift.clear()
    this.nodes = nodes
    const rates = {}
    for (const n of Object.values(this.nodes)) if (n.name && n.stream === 'open') rates[n.name] = n.rate ?? null
    const b = this.connected ? this.me.beat : null
    const point = { at: Date.now() / 1000, rotations: b?.rotations_per_s ?? null, p50: b?.hop_p50_us ?? null, p99: b?.hop_p99_us ?? null, rates }
    this.beats = [...this.beats.slice(1 - SECONDS), point]
  }

  async #askFilms(streams) {
    this.films = { ...this.films, ...Object.fromEntries(streams.map(s => [s.film, this.films[s.film] ?? 0])) } // asked once
    try {
      const { videos } = await this.ask('GET', this.lead, '/api/v1/videos')
      this.films = { ...this.films, ...Object.fromEntries(videos.map(v => [v.name, v.duration_ms / 1000])) }
    } catch (err) {
      console.warn('the films are not known:', err.message) // the bars then go without an end
    }
  }

  // ask calls the admin API; it throws an Error with the node's own words.
  async ask(method, url, path, body) {
    const res = await fetch(url + path, {
      method, credentials: 'omit', cache: 'no-store', signal: AbortSignal.timeout(10_000),
      headers: { authorization: `Bearer ${this.#token}`, ...(body && { 'content-type': 'application/json' }) },
      body: body && JSON.stringify(body),
    })
    const answer = await res.json().catch(() => ({}))
    if (!res.ok) throw new Error([answer.error?.text ?? `HTTP status ${res.status}`, answer.error?.hint].filter(Boolean).join('; '))
    return answer
  }

  fault(verb, node, more = {}) {
    const n = this.of(node)
    if (!n) return Promise.reject(new Error(`the admin address of ${node} is not known here`))
    return this.ask('POST', n.url, `/api/v1/fault/${verb}`, { node, ...more })
  }

  command(verb, node) { return this.ask('POST', this.control, `/nodes/${encodeURIComponent(node)}/${verb}`) }

  async drain(verb, node) {
    const path = `/api/v1/nodes/${encodeURIComponent(node)}/${verb}`
    const n = this.of(node)
    return this.ask('POST', n?.stream === 'open' ? n.url : this.lead, path, {})
  }

  move(addr, node) { return this.ask('POST', this.lead, `/api/v1/vips/${encodeURIComponent(addr)}/move`, { node }) }

  async heal(a, b) { // the cut may have been ordered at either end
    const ends = [this.fault('heal', a, { peer: b }), this.fault('heal', b, { peer: a })]
    const done = await Promise.allSettled(ends)
    if (done.every(d => d.status === 'rejected')) throw done[0].reason
  }

  // pairs is the state of the links between each two members as both ends see it:
  // Map "a b" -> {up, down, rtt, loss, transitions, told}; a told b's view.
  get pairs() {
    const out = new Map()
    for (const n of Object.values(this.nodes)) {
      if (n.stream !== 'open') continue
      for (const l of n.links ?? []) {
        const k = `${l.a} ${l.b}`, x = out.get(k) ?? { up: 0, down: 0, rtt: 0, loss: 0, transitions: 0, paths: [] }
        x[l.state === 'up' ? 'up' : 'down']++
        x.rtt = x.rtt && l.rtt_us ? Math.min(x.rtt, l.rtt_us) : x.rtt || l.rtt_us
        x.loss = Math.max(x.loss, l.loss)
        x.transitions += l.transitions
        x.paths.push(l)
        out.set(k, x)
      }
    }
    return out
  }

  // groups says who is with whom: the views that nodes tell of, with the names of
  // those that tell it.
  get groups() {
    const out = new Map()
    for (const n of Object.values(this.nodes)) {
      if (n.stream !== 'open' || !n.ring || !n.name) continue
      const k = n.ring.state === 'member' ? `view ${n.ring.view}` : `${n.ring.state} ${n.name}`
      const g = out.get(k) ?? { key: k, state: n.ring.state, view: n.ring.view, primary: false, names: [] }
      g.primary ||= n.ring.primary
      g.names.push(n.name)
      out.set(k, g)
    }
    for (const g of out.values()) g.names.sort(byName)
    return [...out.values()].sort((a, b) => b.primary - a.primary || b.names.length - a.names.length)
  }
}

const shape = links => (links ?? []).map(l => `${l.a} ${l.b} ${l.link} ${l.state}`).join()

export function origin(url) {
  try { return new URL(url).origin } catch { return '' }
}
