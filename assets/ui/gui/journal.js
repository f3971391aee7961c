// The event logs of all nodes as one story. What several nodes tell with the same
// words within a moment is one line with several witnesses.

const SAME = 2500 // ms
export const KEEP = 400

// merge puts event e, told by node, into list (newest first) and returns a new
// list, or the same one if it knew the event.
export function merge(list, node, life, e) {
  const at = Date.parse(e.time)
  const key = `${node} ${life} ${e.id}`
  const words = `${e.kind}|${e.text}|${e.why ?? ''}`
  for (const x of list) {
    if (x.keys.includes(key)) return list
    // A view has one number and one cause: whoever tells it tells the same.
    if (x.words !== words) continue
    if (x.nodes.includes(node)) {
      if (e.kind === 'view') return list // a node that comes back reads the views again
      continue
    }
    if (e.kind !== 'view' && Math.abs(x.at - at) >= SAME) continue
    const y = { ...x, keys: [...x.keys, key], nodes: [...x.nodes, node].sort(byName), at: Math.min(x.at, at), gap: Math.max(x.gap, e.gap_ms ?? 0) }
    return y.at === x.at ? list.map(z => z === x ? y : z) : place(list.filter(z => z !== x), y)
  }
  const x = { id: key, keys: [key], words, at, nodes: [node], kind: e.kind, text: e.text, why: e.why ?? '', gap: e.gap_ms ?? 0 }
  return place(list, x).slice(0, KEEP)
}

function place(list, x) {
  const i = list.findIndex(y => y.at <= x.at)
  return i < 0 ? [...list, x] : [...list.slice(0, i), x, ...list.slice(i)]
}

export const byName = (a, b) => a.localeCompare(b, 'en', { numeric: true })

// plain makes of a node's words what people read: names for ids.
export function plain(text, names) {
  return text.replace(/\b(\d+\.\d+\.\d+\.\d+)(\/\d+)?\b/g, (all, id) => names.get(id) ?? (names.size && all.includes('/') ? id : all))
}

// important tells what the log shows unless one asks for everything.
export function important(e) {
  if (e.kind === 'view') return e.why !== 'restored from a snapshot'
  if (e.kind === 'vip') return true
  return e.kind === 'state' && /isolated|member|left|out|rejoin|cold/i.test(e.text) && !/settled/.test(e.text)
}

// tone is ok, warn, bad or plain.
export function tone(e) {
  if (e.kind === 'view') return /fail|dead|lost|out/.test(e.why) ? 'bad' : 'ok'
  if (e.kind === 'vip') return /answers/.test(e.text) ? 'ok' : 'warn'
  if (e.kind === 'suspect') return /cleared/.test(e.text) ? 'plain' : 'warn'
  if (/isolated|check failed/.test(e.text)) return 'bad'
  if (e.kind === 'state' && /member/.test(e.text)) return 'ok'
  if (['starve', 'send', 'token'].includes(e.kind)) return 'warn'
  return 'plain'
}
