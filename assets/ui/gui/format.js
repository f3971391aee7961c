export const bytes = n => {
  for (const u of ['B', 'KiB', 'MiB', 'GiB', 'TiB']) {
    if (n < 1024 || u === 'TiB') return `${u === 'B' ? n : n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)} ${u}`
    n /= 1024
  }
}

export const ago = ms => {
  const s = Math.max(0, Math.floor(ms / 1000))
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`
  return `${Math.floor(s / 86400)} d`
}

export const clock = s => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, '0')}`
export const time = at => new Date(at).toLocaleTimeString('en-GB', { hour12: false }) + '.' + String(at % 1000).padStart(3, '0')
export const us = n => n >= 10_000 ? `${(n / 1000).toFixed(0)} ms` : n >= 1000 ? `${(n / 1000).toFixed(1)} ms` : `${n} µs`
export const count = n => n >= 1e6 ? `${(n / 1e6).toFixed(1)} M` : n >= 10_000 ? `${(n / 1e3).toFixed(1)} k` : n >= 100 ? n.toFixed(0) : n >= 10 || n === Math.round(n) ? n.toFixed(0) : n.toFixed(1)
export const host = addr => addr.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')

// hue is a node's own colour, 0 to 7: by the number in its name, if it has one.
export const hue = node => ((Number(/(\d+)$/.exec(node)?.[1] ?? node.length) || 1) - 1) % 8

export const words = {
  up: 'up', draining: 'draining', isolated: 'isolated', joining: 'joining', frozen: 'silent, frozen?', dead: 'dead', down: 'down', apart: 'out of reach',
}
