// What the tests and viewers with a real browser have in common: finding Chromium
// and Playwright, options of the command line, waiting, and looking at the film's
// page. film-test.mjs, gui-test.mjs and film-view.mjs use it.
//
// A look at the film is taken every LOOK_MS in the page itself. The film stands
// when its position does not change between looks. While the machine stands the
// page cannot look either: that time, which it sees by its own clock, is told
// apart ("late") and belongs to no stand.
import { createRequire } from 'node:module'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const LOOK_MS = 20
const here = f => fileURLToPath(new URL(f, import.meta.url))
// builtBin is where 'make build' puts the programs.
export const builtBin = here('../bin')

export const sleep = ms => new Promise(r => setTimeout(r, ms))
export const arg = (name, def) => { const i = process.argv.indexOf(name); return i < 0 ? def : process.argv[i + 1] }

// helpIfAsked prints what is said at the top of a script, and ends.
export function helpIfAsked(script) {
  if (!process.argv.includes('--help') && !process.argv.includes('-h')) return
  const lines = readFileSync(fileURLToPath(script), 'utf8').split('\n').slice(1)
  console.log(lines.slice(0, lines.findIndex(l => !l.startsWith('//'))).map(l => l.replace(/^\/\/ ?/, '')).join('\n'))
  process.exit(0)
}

// until waits for f to give something; an error of f with the property fatal
// ends the waiting.
export async function until(what, ms, f) {
  const end = Date.now() + ms
  for (let why = ''; ;) {
    try { const v = await f(); if (v) return v } catch (err) { if (err.fatal) throw err; why = err.message }
    if (Date.now() > end) throw new Error(`${what}: not within ${ms / 1000} s ${why}`)
    await sleep(50)
  }
}

// find finds the browser: {program, chromium, require}, or {why} where it is not.
// require loads what 'npm ci' in assets/ui has installed.
export function find() {
  const program = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(p => p && existsSync(p))
  if (!program) return { why: 'no Chromium is installed' }
  const require = createRequire(here('../assets/ui/package.json'))
  try {
    return { program, require, chromium: require('playwright-core').chromium }
  } catch {
    return { why: "playwright-core is not installed; run 'npm ci' in assets/ui" }
  }
}

// flags are how Chromium is started: as root, without a screen, and silent but
// for the page.
export const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']

// filmPage opens a browser with a profile of its own, for the film's page. All that
// it writes is in there.
export async function filmPage({ chromium, program }, profile) {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: program, headless: true, viewport: { width: 900, height: 760 }, args: ['--headless', ...flags],
    env: { ...process.env, TMPDIR: profile },
  })
  return { context, page: context.pages()[0] ?? await context.newPage() }
}

// onSegment calls seen for each segment that came whole, with the node that sent it.
export function onSegment(page, seen) {
  const asked = new Map()
  page.on('request', r => { if (/\/seg-\d+\.m4s/.test(r.url())) asked.set(r, Date.now()) })
  page.on('requestfailed', r => asked.delete(r))
  page.on('response', async r => {
    const n = /\/seg-(\d+)\.m4s/.exec(r.url())
    if (!n || !r.ok()) return
    const at = asked.get(r.request()), node = r.headers()['x-rain-node'], host = new URL(r.url()).host
    if (await r.finished().catch(err => err)) return // cut off on the way, or the page is gone
    asked.delete(r.request())
    seen({ segment: Number(n[1]), node, host, at, took: Date.now() - at })
  })
}

// load loads the film's page until it has its player. An address may be on its
// way: then again, and failed hears of it. An error with the property fatal: the
// nodes have no player to give.
export async function load(page, url, ms, failed = () => {}) {
  const end = Date.now() + ms
  for (;;) {
    const left = () => Math.max(Math.min(15_000, end - Date.now()), 1)
    try {
      const answer = await page.goto(url, { timeout: left() })
      if (!answer.ok()) throw new Error(`status ${answer.status()}`)
      if (!await page.locator('script[src*="/player.js"]').count()) throw Object.assign(new Error("the nodes' programs are without the film's player: 'make assets' builds it by npm"), { fatal: true })
      await page.waitForFunction(() => window.rain, null, { timeout: left() })
      return
    } catch (err) {
      if (err.fatal) throw err
      failed(err)
      if (Date.now() > end) throw new Error(`the page ${url}: not within ${ms / 1000} s: ${err.message}`)
      await sleep(50)
    }
  }
}

export const playsFilms = page => page.evaluate(() => MediaSource.isTypeSupported('video/mp4; codecs="avc1.64001E,mp4a.40.2"'))

// play presses the button, waits until the film runs, and begins to look at it.
// window.watched is then what was seen:
//   stands   {wall, at, ms, late, hand}: from when, at which second of the film,
//            for how long, how long the machine stood meanwhile, and how many
//            seconds of film were in hand
//   lost     seconds of film that the player leapt over
//   latest   for how long the machine stood at most, in ms
//   ahead    the most film in hand, in seconds
//   errors   what the video element complained of
export async function play(page, ms) {
  await page.locator('#play').click({ timeout: ms })
  await page.waitForFunction(() => document.getElementById('film').currentTime > 0.2, null, { timeout: ms })
  await page.evaluate(watch, LOOK_MS)
}

// watch is run in the page.
function watch(every) {
  const video = document.getElementById('film'), least = 3 * every
  const w = window.watched = { began: Date.now(), from: video.currentTime, stands: [], lost: 0, latest: 0, ahead: 0, errors: [] }
  let last = video.currentTime, moved = performance.now(), looked = moved, late = 0, stand = null
  video.addEventListener('error', () => w.errors.push(video.error?.message ?? 'error'))
  // Nobody seeks but the player, over film that it has not got.
  video.addEventListener('seeking', () => { w.lost += Math.max(0, video.currentTime - last); last = video.currentTime })
  setInterval(() => {
    const now = performance.now(), t = video.currentTime
    const slept = Math.max(0, now - looked - 2 * every) // a look was due: the machine stood, not the film
    looked = now
    w.latest = Math.max(w.latest, slept)
    w.ahead = Math.max(w.ahead, window.rain.ahead())
    if (video.ended) return
    if (t !== last) { last = t; moved = now; late = 0; stand = null; return }
    late += slept
    const ms = now - moved - late
    if (ms < least) return
    if (!stand) w.stands.push(stand = { wall: Date.now() - (now - moved), at: t })
    Object.assign(stand, { ms, late, hand: window.rain.ahead() })
  }, every)
}

// lateness tells for how long at most this process did not get to run.
export function lateness() {
  const l = { most: 0, stop: () => clearInterval(timer) }
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    l.most = Math.max(l.most, now - last - 2 * LOOK_MS)
    last = now
  }, LOOK_MS)
  return l
}
