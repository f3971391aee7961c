// One node's live stream: server-sent events over fetch, since EventSource cannot
// send the token. It goes on trying until it is closed.

const SILENT = 2500 // ms without a byte; beats come every second
const HANG = 4000 // ms until the answer's header must be there
const LONGEST_REST = 4000

export class Stream {
  // told(kind, data, id) hears of events; "state" is this stream's own, with
  // connecting, open, silent, refused, busy, denied.
  // was is the state of the stream that this one follows on: if that was open,
  // only a failure is news.
  constructor(url, token, parts, after, was, told) {
    Object.assign(this, { url, token, parts, after, told, state: was, closed: false, heard: performance.now(), rest: 0 })
    this.watch = setInterval(() => this.#look(), 500)
    this.#run()
  }

  close() {
    this.closed = true
    clearInterval(this.watch)
    clearTimeout(this.timer)
    this.abort?.abort()
  }

  // again tries at once: somebody has heard that the node is back.
  again() {
    if (this.closed || !this.timer) return
    clearTimeout(this.timer)
    this.timer = 0
    this.rest = 0
    this.#run()
  }

  #say(state) {
    if (this.state === state || this.closed) return
    this.state = state
    this.told('state', state)
  }

  #look() {
    if (this.state === 'open' && performance.now() - this.heard > SILENT) this.#say('silent')
  }

  async #run() {
    this.timer = 0
    if (!this.state) this.#say('connecting') // later on the last outcome stands until there is another
    this.abort = new AbortController()
    const hang = setTimeout(() => { this.#say('silent'); this.abort.abort() }, HANG)
    let end = 'refused'
    try {
      const q = new URLSearchParams()
      if (this.parts) q.set('parts', this.parts)
      if (this.after) q.set('after', this.after)
      const res = await fetch(`${this.url}/api/v1/live?${q}`, {
        headers: { authorization: `Bearer ${this.token}` }, signal: this.abort.signal, credentials: 'omit', cache: 'no-store',
      })
      clearTimeout(hang)
      if (res.status === 401 || res.status === 429) end = 'denied'
      else if (res.status === 503) end = 'busy'
      else if (res.ok) await this.#read(res.body.getReader())
    } catch { // refused, cut, or aborted: all of these the state tells
      if (this.state === 'silent') end = 'silent'
    } finally {
      clearTimeout(hang)
    }
    if (this.closed) return
    this.#say(end)
    this.rest = Math.min(LONGEST_REST, this.rest * 2 || 250)
    this.timer = setTimeout(() => this.#run(), this.rest)
  }

  async #read(reader) {
    const text = new TextDecoder()
    let rest = ''
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      this.heard = performance.now()
      this.rest = 0
      this.#say('open')
      rest += text.decode(value, { stream: true })
      for (let end; (end = rest.indexOf('\n\n')) >= 0; rest = rest.slice(end + 2)) this.#event(rest.slice(0, end))
    }
  }

  #event(block) {
    let kind = 'message', data = '', id
    for (const line of block.split('\n')) {
      const at = line.indexOf(': ')
      const value = line.slice(at + 2)
      if (line.startsWith('event:')) kind = value
      else if (line.startsWith('data:')) data += value
      else if (line.startsWith('id:')) id = value
    }
    if (id) this.after = id
    if (data && !this.closed) this.told(kind, JSON.parse(data), id)
  }
}
