#!/usr/bin/env node
// Watches a film in a headless Chromium, on its player's page, as 'lab view' does
// without one: it looks at the film's position every 20 ms and tells what a person
// would complain of. 'lab show' runs it in the client of a laboratory:
//   lab exec client node demos/film-view.mjs http://10.77.100.2:8080/video/show/ --for 60
//
// It prints one JSON object: {"api":1,"showings":[...],"failures":[...]}, each
// showing as 'lab view' tells it. When the film ends it is shown again, on a page
// loaded anew. In a showing
//   stalls    the film stood for 100 ms or more, and the machine did not; or it took
//             more than two seconds from asking for the page to the film's beginning
//   lost_ms   film that the player leapt over, or that was missing at the end
//   failures  requests that failed; the player itself asks again, elsewhere
//   sent      which node sent each segment, and when
//   late_ms   for how long the machine at most did not let the page look
// {"api":1,"skipped":"..."}: there is no browser here, or it cannot play the film.
// When the film runs for the first time it says so on standard error. It ends with
// its standard input, if that is a pipe.
//
// usage: film-view.mjs URL [--for SECONDS]
import { fstatSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { arg, filmPage, find, helpIfAsked, load, onSegment, play, playsFilms, sleep } from './browser.mjs'

const STALL_MS = 100 // shorter ones nobody sees
const BEGIN_MS = 2000 // a film that begins later than that made its viewer wait
const MOST = 1000 // things that are told one by one
helpIfAsked(import.meta.url)
const url = process.argv[2], end = Date.now() + 1000 * Number(arg('--for', 60))
if (!/^https?:/.test(url ?? '') || !Number.isFinite(end)) { console.error('film-view: usage: film-view.mjs URL [--for SECONDS]'); process.exit(2) }

const iso = ms => new Date(ms).toISOString()
const round = ms => Number(ms.toFixed(3))
const left = () => Math.max(end - Date.now(), 1)
const tell = what => console.log(JSON.stringify({ api: 1, ...what }))

const browser = find()
if (browser.why) { tell({ skipped: browser.why }); process.exit(0) }
const profile = mkdtempSync(join(tmpdir(), 'rain-chromium-'))
process.once('exit', () => rmSync(profile, { recursive: true, force: true, maxRetries: 5 }))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))
if (fstatSync(0).isFIFO() || fstatSync(0).isSocket()) process.stdin.resume().once('end', () => process.exit(1))

// Showing is one time through the film.
class Showing {
  constructor() {
    this.asked = Date.now()
    this.began = 0
    this.report = { api: 1, film: url, started: iso(this.asked), shown_ms: 0, stalled_ms: 0, longest_stall_ms: 0, lost_ms: 0, requests: 0, failed: 0, slowest_ms: 0, stalls: [], failures: [], sent: [], late_ms: 0 }
  }

  came(s) {
    const r = this.report
    r.slowest_ms = Math.max(r.slowest_ms, s.took)
    if (r.sent.length < MOST) r.sent.push({ at: iso(s.at + s.took), segment: s.segment, node: s.node ?? '' })
  }

  failed(text) {
    this.report.failed++
    if (this.report.failures.length < MOST) this.report.failures.push({ at: iso(Date.now()), ms: 0, text })
  }

  stood(wall, ms, text) {
    const r = this.report
    r.stalled_ms = round(r.stalled_ms + ms)
    r.longest_stall_ms = Math.max(r.longest_stall_ms, round(ms))
    if (r.stalls.length < MOST) r.stalls.push({ at: iso(wall), ms: round(ms), text })
  }

  // begin says that the film runs.
  begin(wall) {
    this.began = wall
    this.report.started = iso(wall)
    if (wall - this.asked > BEGIN_MS) this.stood(this.asked, wall - this.asked, 'before the film began')
  }

  // saw takes over what the page has seen in the end.
  saw({ w, t, ended, duration }) {
    const r = this.report
    const missing = ended ? Math.max(0, duration - t) : 0
    r.shown_ms = round(1000 * Math.max(0, t - w.from - w.lost))
    r.lost_ms = round(1000 * (w.lost + (missing > 0.1 ? missing : 0)))
    r.late_ms = round(w.latest)
    for (const s of w.stands) {
      if (s.ms >= STALL_MS) this.stood(s.wall, s.ms, `${s.hand.toFixed(1)} s in hand` + (s.late > 0 ? `, and the machine stood for ${Math.round(s.late)} ms` : ''))
    }
    for (const e of w.errors) this.failed(e)
  }
}

let showing = null
function follow(page) {
  onSegment(page, s => showing?.came(s))
  page.on('request', r => { if (showing && r.url().includes('/video/')) showing.report.requests++ })
  // Who was asked twice gives up the slower answer: that is no failure.
  page.on('requestfailed', r => { const why = r.failure()?.errorText ?? ''; if (why !== 'net::ERR_ABORTED') showing?.failed(why) })
  page.on('response', r => { if (r.status() >= 400) showing?.failed(`status ${r.status()}`) })
}

// show shows the film once; it is done when the film has ended or the time is over.
async function show(page) {
  await load(page, url, left(), err => { if (/Timeout/.test(err.message)) showing.failed('time-out of the page') })
  if (!await playsFilms(page)) return { skipped: 'this Chromium plays no H.264' }
  await play(page, Math.min(left(), 30_000))
  showing.begin(await page.evaluate(() => window.watched.began))
  if (told.showings.length === 0) console.error('film-view: the film runs') // 'lab show' waits for it
  await page.waitForFunction(() => document.getElementById('film').ended, null, { timeout: left(), polling: 500 }).catch(err => { if (left() > 1) throw err })
  showing.saw(await page.evaluate(() => {
    const v = document.getElementById('film')
    return { w: window.watched, t: v.currentTime, ended: v.ended, duration: v.duration }
  }))
  return {}
}

const told = { showings: [], failures: [] }
let context
while (left() > 1) {
  try {
    let page
    if (context) page = context.pages()[0]
    if (!page) {
      ({ context, page } = await filmPage(browser, profile))
      follow(page)
    }
    showing = new Showing()
    const { skipped } = await show(page)
    if (skipped) { tell({ skipped }); process.exit(0) }
  } catch (err) {
    if (err.fatal) { tell({ skipped: err.message }); process.exit(0) }
    if (left() > 1) { // the page or the browser gave up
      told.failures.push({ at: showing ? showing.report.started : iso(Date.now()), ms: showing ? Date.now() - showing.asked : 0, text: err.message.split('\n')[0] })
      await context?.close().catch(() => {}) // it may be dead
      context = null
      await sleep(1000)
    } else if (!showing?.began) {
      showing?.stood(showing.asked, Date.now() - showing.asked, 'the film had not begun in the end')
    }
  }
  if (showing) told.showings.push(showing.report)
  showing = null
}
tell(told)
await context?.close().catch(() => {}) // all is told
process.exit(0)
