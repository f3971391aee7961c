// Draws the demo film: rain on water, a ring of four nodes, a token that goes
// round, nodes that die and come back. Writes raw RGB frames to stdout, or the
// sound as 16-bit stereo PCM with --sound. The same numbers each time: chance
// comes from a seed.
const W = 854, H = 480, FPS = 25, SECONDS = 60, RATE = 44100
const w = W / 2, h = H / 2 // the water is computed at half the size

let seed = 20261122
function chance() { // mulberry32
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

const smooth = (a, b, t) => { const x = Math.min(1, Math.max(0, (t - a) / (b - a))); return x * x * (3 - 2 * x) }

// Nodes on a ring that lies on the water; when each is dead, in seconds.
const nodes = [0, 1, 2, 3].map(i => {
  const a = -Math.PI / 2 + i * Math.PI / 2 + Math.PI / 4
  return { x: 427 + 200 * Math.cos(a), y: 222 + 112 * Math.sin(a), dead: [] }
})
nodes[1].dead = [[16, 27]]
nodes[2].dead = [[34, 47]]
nodes[0].dead = [[37.5, 48.5]]
const alive = (n, t) => !n.dead.some(([a, b]) => t >= a && t < b)
const light = (n, t) => n.dead.reduce((l, [a, b]) => Math.min(l, 1 - smooth(a, a + 0.5, t) + smooth(b, b + 1, t)), 1)

// The token's way: from one living node to the next, HOP seconds each.
const HOP = 0.72
const hops = []
for (let t = 0, at = 0; t < SECONDS; t += HOP) {
  let next = (at + 1) % 4
  for (let k = 0; k < 4 && !alive(nodes[next], t + HOP); k++) next = (next + 1) % 4
  hops.push({ t, from: at, to: next })
  at = next
}
function token(t) {
  const hop = hops[Math.min(hops.length - 1, Math.floor(t / HOP))]
  const p = smooth(0, 1, (t - hop.t) / HOP), a = nodes[hop.from], b = nodes[hop.to]
  const mx = (a.x + b.x) / 2, my = (a.y + b.y) / 2, bend = 1.32 // bowed outwards, like the ring
  const cx = 427 + (mx - 427) * bend, cy = 222 + (my - 222) * bend
  return { x: (1 - p) ** 2 * a.x + 2 * p * (1 - p) * cx + p * p * b.x, y: (1 - p) ** 2 * a.y + 2 * p * (1 - p) * cy + p * p * b.y }
}

// Rain: how many drops a second, and each drop.
const rate = t => 2.5 + 7 * smooth(3, 12, t) - 6 * smooth(22, 30, t) + 9 * smooth(34, 40, t) - 9 * smooth(48, 56, t)
const drops = []
for (let f = 0; f < FPS * SECONDS; f++) {
  const t = f / FPS
  for (let n = rate(t) / FPS; n > 0; n--) if (chance() < n) drops.push({ f, x: chance() * w, y: chance() * h, size: 0.35 + chance() ** 3 })
}

function frames() {
  let now = new Float32Array(w * h), old = new Float32Array(w * h)
  const water = new Float32Array(w * h * 3)
  const rgb = Buffer.alloc(W * H * 3)
  let drop = 0
  const splash = (x, y, r, power) => {
    for (let j = Math.max(1, Math.floor(y - 3 * r)); j < Math.min(h - 1, y + 3 * r); j++)
      for (let i = Math.max(1, Math.floor(x - 3 * r)); i < Math.min(w - 1, x + 3 * r); i++)
        now[j * w + i] -= power * Math.exp(-((i - x) ** 2 + (j - y) ** 2) / (r * r))
  }
  const step = () => {
    for (let j = 1; j < h - 1; j++) {
      for (let i = 1, k = j * w + 1; i < w - 1; i++, k++) {
        const v = now[k]
        old[k] = v + (v - old[k]) * 0.9865 + 0.21 * (now[k - 1] + now[k + 1] + now[k - w] + now[k + w] - 4 * v)
      }
    }
    [now, old] = [old, now]
  }
  const glow = (x, y, r, cr, cg, cb, power) => {
    const reach = r * 3.2
    for (let j = Math.max(0, Math.floor(y - reach)); j < Math.min(H, y + reach); j++) {
      for (let i = Math.max(0, Math.floor(x - reach)); i < Math.min(W, x + reach); i++) {
        const e = power * Math.exp(-((i - x) ** 2 + (j - y) ** 2) / (r * r))
        const k = (j * W + i) * 3
        rgb[k] = Math.min(255, rgb[k] + cr * e); rgb[k + 1] = Math.min(255, rgb[k + 1] + cg * e); rgb[k + 2] = Math.min(255, rgb[k + 2] + cb * e)
      }
    }
  }
  const disc = (x, y, r, l) => {
    for (let j = Math.floor(y - r - 2); j < y + r + 2; j++) {
      for (let i = Math.floor(x - r - 2); i < x + r + 2; i++) {
        const d = Math.hypot(i - x, (j - y) * 1.25)
        const rim = Math.max(0, 1 - Math.abs(d - r) / 1.6), core = Math.min(1, Math.max(0, r - d)) * (0.55 + 0.45 * l)
        if (rim <= 0 && core <= 0) continue
        const k = (j * W + i) * 3
        const c = [12 + 30 * l, 26 + 96 * l, 34 + 104 * l], e = [70 + 90 * l, 76 + 170 * l, 84 + 160 * l]
        for (let q = 0; q < 3; q++) rgb[k + q] = rgb[k + q] * (1 - Math.max(core, rim)) + Math.max(c[q] * core, e[q] * rim)
      }
    }
  }
  function frame(f) {
    const t = f / FPS
    for (; drop < drops.length && drops[drop].f <= f; drop++) splash(drops[drop].x, drops[drop].y, 2.2, 1.5 * drops[drop].size)
    const tk = token(t)
    splash(tk.x / 2, tk.y / 2, 2.4, 0.10)
    for (const n of nodes) for (const [a, b] of n.dead) {
      if (f === Math.round(a * FPS)) splash(n.x / 2, n.y / 2, 9, 3.4)
      if (f === Math.round(b * FPS)) splash(n.x / 2, n.y / 2, 6, -2)
    }
    step(); step()
    const fade = smooth(0, 2, t) * (1 - smooth(58, 60, t))
    for (let j = 0; j < h; j++) {
      const depth = j / h
      for (let i = 0; i < w; i++) {
        const k = j * w + i
        const gx = i > 0 && i < w - 1 ? now[k + 1] - now[k - 1] : 0, gy = j > 0 && j < h - 1 ? now[k + w] - now[k - w] : 0
        const lit = 0.5 - 0.95 * gx - 1.3 * gy
        const spec = Math.max(0, lit - 0.74), dark = Math.max(0, 0.4 - lit)
        const vx = (i / w - 0.5), vy = depth - 0.46, v = Math.max(0, 1 - 1.7 * (vx * vx + vy * vy))
        water[k * 3] = fade * v * (7 + 13 * depth + 210 * spec - 14 * dark)
        water[k * 3 + 1] = fade * v * (30 + 30 * depth + 235 * spec - 40 * dark)
        water[k * 3 + 2] = fade * v * (52 + 34 * depth + 250 * spec - 60 * dark)
      }
    }
    for (let j = 0; j < H; j++) {
      const y = Math.min(h - 1.001, j / 2), j0 = Math.floor(y), fy = y - j0
      for (let i = 0; i < W; i++) {
        const x = Math.min(w - 1.001, i / 2), i0 = Math.floor(x), fx = x - i0
        const k = (j0 * w + i0) * 3, o = (j * W + i) * 3
        for (let q = 0; q < 3; q++) {
          const top = water[k + q] * (1 - fx) + water[k + 3 + q] * fx, low = water[k + w * 3 + q] * (1 - fx) + water[k + w * 3 + 3 + q] * fx
          rgb[o + q] = Math.max(0, Math.min(255, top * (1 - fy) + low * fy))
        }
      }
    }
    const ring = smooth(5, 8, t) * (1 - smooth(57, 59, t))
    if (ring > 0) overlay(t, ring)
    return rgb
  }
  function overlay(t, ring) {
    // the ring as a string of faint lights between living neighbours
    for (let i = 0; i < 4; i++) {
      if (light(nodes[i], t) < 0.5) continue
      let n = (i + 1) % 4
      while (light(nodes[n], t) < 0.5) n = (n + 1) % 4
      const a = nodes[i], b = nodes[n], cx = 427 + ((a.x + b.x) / 2 - 427) * 1.32, cy = 222 + ((a.y + b.y) / 2 - 222) * 1.32
      for (let p = 0.07; p < 0.94; p += 0.03) {
        glow((1 - p) ** 2 * a.x + 2 * p * (1 - p) * cx + p * p * b.x, (1 - p) ** 2 * a.y + 2 * p * (1 - p) * cy + p * p * b.y, 1.7, 60, 150, 160, 0.55 * ring)
      }
    }
    const tk = token(t)
    for (const n of nodes) {
      const l = light(n, t) * ring
      const near = Math.exp(-((tk.x - n.x) ** 2 + (tk.y - n.y) ** 2) / 1600) * l
      glow(n.x, n.y, 30, 40, 150, 165, 0.28 * l + 0.5 * near)
      disc(n.x, n.y, 15, l * (0.75 + 0.25 * near))
    }
    for (let k = 7; k >= 0; k--) {
      const p = token(Math.max(0, t - k * 0.035))
      glow(p.x, p.y, 8 - 0.7 * k, 255, 190, 90, ring * (k ? 0.16 : 1))
    }
  }
  return frame
}

function sound() {
  const n = RATE * SECONDS, left = new Float32Array(n), right = new Float32Array(n)
  // rain: noise, low and high parts, as loud as it rains
  let la = 0, ra = 0, lb = 0, rb = 0
  for (let i = 0; i < n; i++) {
    const t = i / RATE, g = (0.010 + 0.0042 * rate(t)) * smooth(0, 3, t) * (1 - smooth(56.5, 60, t))
    const x = chance() * 2 - 1, y = chance() * 2 - 1
    la += 0.22 * (x - la); ra += 0.22 * (y - ra); lb += 0.02 * (x - lb); rb += 0.02 * (y - rb)
    left[i] = g * (la * 1.1 + lb * 3); right[i] = g * (ra * 1.1 + rb * 3)
  }
  const tone = (at, freq, power, decay, pan) => {
    const from = Math.floor(at * RATE)
    for (let i = 0; i < decay * 7 * RATE && from + i < n; i++) {
      const t = i / RATE, v = power * Math.min(1, t * 300) * Math.exp(-t / decay) * Math.sin(2 * Math.PI * freq * t + 1.4 * Math.exp(-t * 30) * Math.sin(4 * Math.PI * freq * t))
      left[from + i] += v * (1 - pan); right[from + i] += v * pan
    }
  }
  const scale = [0, 2, 4, 7, 9, 12, 14, 16]
  const note = k => 220 * 2 ** (scale[((k % 8) + 8) % 8] / 12)
  for (const d of drops) if (d.size > 0.75) tone(d.f / FPS, note(Math.floor(d.x / w * 8)) * 2, 0.045 * d.size, 0.16, 0.15 + 0.7 * d.x / w)
  for (const hop of hops) if (hop.t > 6.5 && hop.t < 57) tone(hop.t, note([0, 3, 4, 2][hop.to]), 0.06, 0.42, nodes[hop.to].x / W)
  for (const nd of nodes) for (const [a, b] of nd.dead) { tone(a, 55, 0.34, 0.5, nd.x / W); tone(b, 440, 0.09, 0.5, nd.x / W); tone(b + 0.12, 660, 0.09, 0.6, nd.x / W) }
  const chords = [[110, 164.8, 220, 277.2], [98, 146.8, 196, 246.9], [92.5, 138.6, 185, 277.2], [82.4, 123.5, 164.8, 246.9]]
  for (let i = 0; i < n; i++) {
    const t = i / RATE, c = Math.floor(t / 7.5), p = (t % 7.5) / 7.5, env = Math.sin(Math.PI * p) ** 0.7 * smooth(2, 8, t) * (1 - smooth(55, 60, t))
    let v = 0
    for (const f of chords[c % 4]) v += Math.sin(2 * Math.PI * f * t) + 0.35 * Math.sin(2 * Math.PI * f * 2.003 * t)
    left[i] += 0.022 * env * v; right[i] += 0.022 * env * v
  }
  const out = Buffer.alloc(n * 4)
  for (let i = 0; i < n; i++) {
    out.writeInt16LE(Math.round(32000 * Math.tanh(left[i] * 1.5)), i * 4)
    out.writeInt16LE(Math.round(32000 * Math.tanh(right[i] * 1.5)), i * 4 + 2)
  }
  return out
}

const write = b => new Promise(done => process.stdout.write(b, done))
if (process.argv.includes('--sound')) {
  await write(sound())
} else {
  const frame = frames()
  const only = process.argv.indexOf('--until')
  const end = only > 0 ? Number(process.argv[only + 1]) * FPS : FPS * SECONDS
  for (let f = 0; f < end; f++) await write(Buffer.from(frame(f)))
}
