// Fetches from whichever address of the cluster answers.
//
// A node that dies refuses or is silent. What is refused is asked of the next
// address at once; who is silent for HEDGE ms gets a rival, and the first whole
// answer wins. All addresses have the same bytes under the same path.

const HEDGE = 350 // ms without a byte, after which another address is asked, too
const ROUND = 120 // ms between two rounds over all addresses
const GIVE_UP = 30_000 // ms; hls.js then tries again by itself

const sleep = (ms, signal) => new Promise(done => {
  const t = setTimeout(done, ms)
  signal?.addEventListener('abort', () => { clearTimeout(t); done() }, { once: true })
})

export class NotThere extends Error {
  constructor(status) {
    super(`HTTP status ${status}`)
    this.status = status
  }
}

export class Sources {
  constructor(hosts) {
    this.hosts = hosts
    this.best = 0 // the address that answered last
  }

  add(hosts) {
    for (const h of hosts) if (!this.hosts.includes(h)) this.hosts.push(h)
  }

  // get resolves to {body, node, host, url}; the path begins with "/".
  async get(path, { signal, headers, onFirst } = {}) {
    const over = new AbortController()
    const stop = () => over.abort()
    signal?.addEventListener('abort', stop, { once: true })
    const until = performance.now() + GIVE_UP
    try {
      for (;;) {
        const answer = await this.#round(path, over.signal, headers, onFirst)
        if (answer) return answer
        if (over.signal.aborted) throw new DOMException('aborted', 'AbortError')
        if (performance.now() > until) throw new Error(`no address has answered for ${GIVE_UP / 1000} s`)
        await sleep(ROUND, over.signal)
      }
    } finally {
      signal?.removeEventListener('abort', stop)
      over.abort() // the losers
    }
  }

  // round asks each address at most once; it resolves to the first answer, or to
  // nothing when all have failed.
  #round(path, signal, headers, onFirst) {
    return new Promise((done, fail) => {
      let next = 0, open = 0, ended = false
      const attempts = []
      const settle = f => { if (!ended) { ended = true; clearInterval(watch); f() } }
      const start = () => {
        if (ended || next >= this.hosts.length) return
        const i = (this.best + next++) % this.hosts.length
        const a = { alive: performance.now(), rival: false }
        attempts.push(a)
        open++
        this.#ask(i, path, signal, headers, () => { a.alive = performance.now(); if (!ended) onFirst?.() }).then(
          answer => settle(() => { this.best = i; done(answer) }),
          err => {
            open--
            if (err instanceof NotThere) return settle(() => fail(err))
            a.rival = true
            if (next < this.hosts.length && !signal.aborted) start()
            else if (open === 0) settle(() => done(null))
          },
        )
      }
      const watch = setInterval(() => {
        const now = performance.now()
        if (signal.aborted) return settle(() => done(null))
        for (const a of attempts) if (!a.rival && now - a.alive > HEDGE) { a.rival = true; start() }
        if (next >= this.hosts.length && attempts.every(a => now - a.alive > 4 * HEDGE)) settle(() => done(null))
      }, 50)
      start()
    })
  }

  async #ask(i, path, signal, headers, alive) {
    const host = this.hosts[i]
    const url = `${location.protocol}//${host}${path}`
    const res = await fetch(url, { signal, headers, credentials: 'omit', cache: 'default' })
    alive()
    if ([400, 403, 404, 410, 416].includes(res.status)) throw new NotThere(res.status)
    if (!res.ok) throw new Error(`HTTP status ${res.status}`)
    const parts = []
    let size = 0
    for (const reader = res.body.getReader(); ;) {
      const { done, value } = await reader.read()
      if (done) break
      alive()
      parts.push(value)
      size += value.length
    }
    const want = Number(res.headers.get('content-length') ?? size)
    if (!res.headers.get('content-encoding') && size !== want) throw new Error(`${size} of ${want} bytes`)
    const body = new Uint8Array(size)
    let at = 0
    for (const p of parts) { body.set(p, at); at += p.length }
    return { body, url, host, node: res.headers.get('x-rain-node') ?? host, status: res.status }
  }
}

// loaderFor makes the loader class that hls.js asks for, on top of sources. seen
// hears of every answer.
export function loaderFor(sources, seen) {
  return class {
    constructor() {
      this.stats = {
        aborted: false, loaded: 0, retry: 0, total: 0, chunkCount: 0, bwEstimate: 0,
        loading: { start: 0, first: 0, end: 0 }, parsing: { start: 0, end: 0 }, buffering: { start: 0, first: 0, end: 0 },
      }
      this.context = null
    }

    load(context, config, callbacks) {
      this.context = context
      this.callbacks = callbacks
      this.abortion = new AbortController()
      const stats = this.stats
      stats.loading.start = performance.now()
      const u = new URL(context.url, location.href)
      const headers = { ...context.headers }
      if (context.rangeEnd) headers.Range = `bytes=${context.rangeStart}-${context.rangeEnd - 1}`
      const asked = Date.now()
      sources.get(u.pathname + u.search, {
        signal: this.abortion.signal, headers,
        onFirst: () => { stats.loading.first ||= performance.now() },
      }).then(a => {
        if (stats.aborted) return
        stats.loading.first ||= performance.now()
        stats.loading.end = Math.max(stats.loading.first, performance.now())
        stats.loaded = stats.total = a.body.length
        stats.chunkCount = 1
        stats.bwEstimate = stats.loaded * 8000 / Math.max(1, stats.loading.end - stats.loading.start)
        seen({ path: u.pathname, node: a.node, host: a.host, bytes: a.body.length, asked, took: stats.loading.end - stats.loading.start })
        const data = context.responseType === 'arraybuffer' ? a.body.buffer : new TextDecoder().decode(a.body)
        callbacks.onProgress?.(stats, context, data, a)
        callbacks.onSuccess({ url: context.url, data, code: a.status }, stats, context, a)
      }, err => {
        if (stats.aborted || err.name === 'AbortError') return
        callbacks.onError({ code: err.status ?? 0, text: err.message }, context, null, stats)
      })
    }

    abort() {
      if (this.stats.aborted || this.stats.loading.end) return
      this.stats.aborted = true
      this.abortion?.abort()
      this.callbacks?.onAbort?.(this.stats, this.context, null)
    }

    destroy() {
      this.stats.loading.end || (this.stats.aborted = true)
      this.abortion?.abort()
      this.callbacks = null
    }

    getCacheAge() { return null }
    getResponseHeader() { return null }
  }
}
