// Draws the pictures of the demo's site: node draw.mjs NAME writes 1280 x 800 raw
// RGB to stdout. The same bytes each time: chance comes from a seed.
const W = 1280, H = 800

let seed = 911
function chance() { // mulberry32
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}
const mix = (a, b, t) => a + (b - a) * t
const smooth = (a, b, x) => { const t = Math.min(1, Math.max(0, (x - a) / (b - a))); return t * t * (3 - 2 * t) }
const normal = v => { const l = Math.hypot(...v); return v.map(c => c / l) }

// picture calls colour for each pixel, some times, and brings light to bytes.
function picture(colour, fine = [[.13, .37], [.63, .12], [.37, .87], [.87, .63]]) {
  const out = Buffer.alloc(W * H * 3)
  for (let y = 0; y < H; y++) {
    for (let x = 0; x < W; x++) {
      const sum = [0, 0, 0]
      for (const [dx, dy] of fine) {
        const c = colour(x + dx, y + dy)
        for (let q = 0; q < 3; q++) sum[q] += c[q]
      }
      const grain = (chance() - .5) * 7
      for (let q = 0; q < 3; q++) out[(y * W + x) * 3 + q] = Math.max(0, Math.min(255, 255 * (1 - Math.exp(-sum[q] / fine.length)) ** (1 / 2.2) + grain))
    }
  }
  return out
}

// Rain on a window, and the lights of a town behind it.
function glass() {
  const lamps = Array.from({ length: 70 }, () => {
    const y = .38 + .5 * chance() ** 1.4, warm = chance()
    return { x: chance() * 1.8 - .1, y, r: .022 + .05 * chance(), c: warm < .6 ? [1, .55, .2] : warm < .85 ? [.25, .7, .9] : [.9, .2, .15], l: .25 + .9 * chance() }
  })
  const far = (u, v) => {
    const c = [.012 + .03 * v, .03 + .05 * v, .06 + .055 * v]
    for (const l of lamps) {
      const d = Math.hypot(u - l.x, v - l.y) / l.r
      if (d < 1.15) {
        const e = l.l * (1 - smooth(.9, 1.15, d)) * (.55 + .35 * d * d)
        for (let q = 0; q < 3; q++) c[q] += e * l.c[q]
      }
    }
    return c
  }
  const drops = [], cell = .05, grid = new Map()
  for (let tries = 0; tries < 9000 && drops.length < 1500; tries++) {
    const big = 1 - drops.length / 1500
    const d = { x: chance() * 1.6, y: chance(), r: .0035 + (.004 + .03 * big ** 5) * chance(), long: 1 + .35 * chance() }
    if (drops.some(o => Math.hypot(o.x - d.x, (o.y - d.y) * .85) < o.r + d.r)) continue
    drops.push(d)
    for (let i = Math.floor((d.x - d.r) / cell); i <= (d.x + d.r) / cell; i++) {
      for (let j = Math.floor((d.y - d.r * 1.5) / cell); j <= (d.y + d.r * 1.5) / cell; j++) {
        const k = i + ',' + j
        if (!grid.has(k)) grid.set(k, [])
        grid.get(k).push(d)
      }
    }
  }
  return picture((x, y) => {
    const u = x / H, v = y / H
    for (const d of grid.get(Math.floor(u / cell) + ',' + Math.floor(v / cell)) ?? []) {
      const dx = (u - d.x) / d.r, dy = (v - d.y) / (d.r * d.long), q = dx * dx + dy * dy
      if (q >= 1) continue
      const z = Math.sqrt(1 - q), bend = .34 * (1.15 - z) / .5
      const c = far(d.x - dx * bend * .9, d.y - dy * bend * .7 + .03) // a drop turns the world over
      const rim = smooth(.55, 1, q), shine = Math.exp(-((dx + .38) ** 2 + (dy + .45) ** 2) * 26)
      return c.map((e, i) => 1.25 * e * (1 - .8 * rim) + shine * [.5, .62, .66][i] + .05 * rim * Math.max(0, dy))
    }
    return far(u, v).map(e => .8 * e)
  })
}

// Four boxes on wet ground; one is dark, and a light goes round the others.
function boxes() {
  const at = [[-1.75, 0], [0, -1.45], [1.75, 0], [0, 1.35]], lit = [1, 0, 1, 1]
  const tints = [[.25, .85, 1], [.3, .3, .32], [.25, .85, 1], [1, .68, .3]]
  const box = (p, c) => {
    const q = [Math.abs(p[0] - c[0]) - .42, Math.abs(p[1] - .62) - .6, Math.abs(p[2] - c[1]) - .42]
    return Math.hypot(...q.map(e => Math.max(e, 0))) + Math.min(Math.max(...q), 0) - .035
  }
  const nearest = p => at.reduce((best, c, i) => { const d = box(p, c); return d < best[0] ? [d, i] : best }, [99, -1])
  const height = (x, z) => .006 * Math.sin(9 * x + 3 * z) + .005 * Math.sin(14 * z - 5 * x + 1) + .004 * Math.sin(31 * x + 23 * z)
  const rings = Array.from({ length: 46 }, () => ({ x: chance() * 9 - 4.5, z: chance() * 9 - 4, r: .05 + .4 * chance(), h: .02 * (.4 + chance()) }))
  const ground = (x, z) => {
    let h = height(x, z)
    for (const o of rings) { const d = Math.hypot(x - o.x, z - o.z) - o.r; if (Math.abs(d) < .12) h += o.h * Math.exp(-d * d * 900) * Math.cos(60 * d) }
    return h
  }
  const glowAt = p => { // the token's light, on its way round
    const c = [0, 0, 0]
    for (let k = 2; k < 24; k++) {
      const a = -.35 + k / 24 * 3.6, d = (p[0] - 2.35 * Math.cos(a)) ** 2 + (p[1] - .75 - .12 * Math.sin(5 * a)) ** 2 + (p[2] - 1.95 * Math.sin(a)) ** 2
      const e = .0011 * (k / 24) ** 2 / (d + .004)
      c[0] += e; c[1] += .62 * e; c[2] += .28 * e
    }
    return c
  }
  const sky = d => { const t = Math.max(0, d[1]); return [mix(.012, .001, t ** .35), mix(.022, .003, t ** .35), mix(.03, .009, t ** .35)] }
  const face = (p, i) => { // slots with lights, as a box has
    const c = at[i], side = Math.abs(p[0] - c[0]) > Math.abs(p[2] - c[1]) ? p[2] - c[1] : p[0] - c[0]
    const row = (p[1] - .1) / .16, in_row = Math.abs(row - Math.floor(row) - .5)
    const bar = smooth(.3, .22, in_row) * smooth(.36, .33, Math.abs(side)) * (p[1] < 1.12 ? 1 : 0)
    const led = Math.exp(-((side - .25) ** 2 * 900 + (in_row * .16) ** 2 * 2600)) * (p[1] < 1.12 ? 1 : 0)
    const busy = .35 + .65 * Math.abs(Math.sin(7.3 * Math.floor(row) + 3.1 * i))
    return tints[i].map((t, q) => .018 * [1, 1.3, 1.5][q] + bar * .03 + lit[i] * t * (led * 3.2 * busy + bar * .09))
  }
  const trace = (o, d, deep) => {
    const light = [0, 0, 0]
    let t = 0, hit = -1
    const floor = d[1] < 0 ? -o[1] / d[1] : 99
    for (let n = 0; n < 60 && t < Math.min(floor, 14); n++) {
      const p = o.map((e, q) => e + d[q] * t), [near, i] = nearest(p)
      if (near < .002) { hit = i; break }
      const step = Math.min(near, .3), g = glowAt(p)
      for (let q = 0; q < 3; q++) light[q] += g[q] * step * 3
      t += step
    }
    const end = Math.min(t, 14), p = o.map((e, q) => e + d[q] * end), fog = Math.exp(-.06 * end)
    let c
    if (hit >= 0) {
      c = face(p, hit)
      const g = glowAt(p)
      c = c.map((e, q) => e + g[q] * .35)
      if (p[1] > 1.2) c = c.map((e, q) => e + [.012, .02, .026][q])
    } else if (floor < 14) {
      const [x, z] = [p[0], p[2]], e = .01
      const n = normal([ground(x - e, z) - ground(x + e, z), 2 * e, ground(x, z - e) - ground(x, z + e)])
      const k = 2 * d.reduce((s, v, q) => s + v * n[q], 0), r = d.map((v, q) => v - k * n[q])
      r[1] = Math.abs(r[1])
      const shine = .25 + .75 * (1 - Math.abs(k) / 2) ** 3
      const m = deep > 0 ? trace([x, .003, z], r, deep - 1) : sky(r)
      const g = glowAt([x, .02, z])
      c = m.map((v, q) => v * shine + [.004, .009, .012][q] + g[q] * .12)
    } else c = sky(d)
    const s = sky(d)
    return c.map((v, q) => mix(s[q], v, fog) + light[q])
  }
  const eye = [1.5, 3.1, 5.6], to = normal([-.255, -.5, -1]), right = normal([-to[2], 0, to[0]])
  const up = [right[1] * to[2] - right[2] * to[1], right[2] * to[0] - right[0] * to[2], right[0] * to[1] - right[1] * to[0]]
  return picture((x, y) => {
    const a = (x - W / 2) / H * 1.06, b = (H / 2 - y) / H * 1.06
    const c = trace(eye, normal(to.map((e, q) => e + right[q] * a + up[q] * b)), 1)
    const v = 1 - .35 * (a * a + b * b)
    return c.map(e => 2.4 * e * v)
  }, [[.5, .5]])
}

// Waves from four sources; one has just stopped, and its last rings still run.
function waves() {
  const from = [[.42, .34], [1.18, .3], [.5, .72], [1.12, .68]]
  const h = (u, v) => from.reduce((s, [x, y], i) => {
    const d = Math.hypot(u - x, (v - y) * 1.25), rest = i === 1 ? smooth(.2, .27, d) : 1
    return s + rest * Math.sin(95 * d - i * 1.7) * Math.exp(-2.1 * d) * smooth(0, .02, d)
  }, 0)
  return picture((x, y) => {
    const u = x / H, v = y / H, e = .002
    const gx = (h(u + e, v) - h(u - e, v)) / (2 * e) / 95, gy = (h(u, v + e) - h(u, v - e)) / (2 * e) / 95
    const n = normal([-gx * .9, -gy * .9, 1]), spec = Math.max(0, n[0] * -.32 + n[1] * -.42 + n[2] * .85) ** 24, edge = 1 - .55 * ((u - .8) ** 2 + (v - .5) ** 2)
    const c = [.014 + .03 * (1 - n[2]) + .55 * spec * .4, .07 + .16 * (1 - n[2]) + .55 * spec * .62, .105 + .2 * (1 - n[2]) + .55 * spec * .7]
    for (let i = 0; i < 4; i++) {
      const [sx, sy] = from[i], d = Math.hypot(u - sx - .02 * gx, (v - sy - .02 * gy) * 1.25), l = i === 1 ? .05 : 1
      const g = l * (.0042 / (d * d + .0011) + .35 * Math.exp(-d * 9) * Math.max(0, .25 + gx * (sx - u) * 6 + gy * (sy - v) * 6))
      const t = i === 2 ? [1, .62, .25] : [.35, .85, 1]
      for (let q = 0; q < 3; q++) c[q] += g * t[q] * .5
    }
    return c.map(q => q * edge)
  })
}

const draw = { glass, boxes, waves }[process.argv[2]]
if (!draw) throw new Error('which picture? glass, boxes or waves')
process.stdout.write(draw())
