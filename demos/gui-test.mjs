#!/usr/bin/env node
// Opens the live picture of a demo in a headless Chromium and holds it to what
// it promises:
//   - a crash is drawn within DRAWN_MS of the view change, by the nodes' own time
//     of that event: the median of --crashes N (default 3)
//   - the page goes on through another node within SWITCH_MS when its own is
//     killed, and sends orders to nodes other than the one it came from
//   - an isolated node is said to be isolated, loudly, and who sees whom
//   - two nodes that do not hear each other: the matrix names the relay, and the
//     history of the link says when and why; the row of a node that the page does not
//     reach shows what its neighbours were told
//   - freeze and thaw, drain and undrain, a VIP's move by the page's own buttons
//   - axe-core has nothing to find, at 390 and 1440 pixels, light and dark
//   - no error in the page's console but for connections that were refused
// and measures the CPU of the tab and of the node for one open page (--cpu S
// seconds, default 10; 0: not).
//
// usage: gui-test.mjs [--json] [--port N] [--bin DIR] [--crashes N] [--cpu S] [--shots DIR]
// It starts a demo of its own on ports N, N+1, N+2 (default 24050); pictures go
// to DIR. Exit code 0: all held. Needs node 20, 'npm ci' in assets/ui, a Chromium
// ($CHROMIUM), and bin/; without them it says "skipped gui-browser: ..." and exits 0.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { arg, builtBin, find, flags, helpIfAsked, sleep, until } from './browser.mjs'

const DRAWN_MS = 500, SWITCH_MS = 1000
helpIfAsked(import.meta.url)
const json = process.argv.includes('--json')
const port = Number(arg('--port', 24050)), bin = arg('--bin', builtBin), crashes = Number(arg('--crashes', 3))
const cpuSeconds = Number(arg('--cpu', 10)), shots = arg('--shots', '')
const say = (...a) => console.error('gui-test:', ...a)
const skip = why => { console.log(`skipped gui-browser: ${why}`); process.exit(0) }

const { program, chromium, require, why } = find()
if (why) skip(why)
if (!existsSync(join(bin, 'rainvideo'))) { say(`${bin}/rainvideo is not there; run 'make build' first`); process.exit(1) }
let axe
try {
  axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
} catch {
  skip("axe-core is not installed; run 'npm ci' in assets/ui")
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))

class Demo {
  async start() {
    this.dir = mkdtempSync(join(tmpdir(), 'rain-gui-'))
    this.child = spawn(join(bin, 'rainvideo'), ['demo', '--dir', join(this.dir, 'd'), '--port', port, '--admin-port', port + 1, '--ring-port', port + 2], { stdio: ['ignore', 'ignore', 'pipe'] })
    process.once('exit', () => this.child.kill('SIGTERM')) // however this test ends, it leaves nothing running
    let said = ''
    this.child.stderr.on('data', d => { said += d })
    this.ended = new Promise(r => this.child.on('exit', r))
    await until('the demo', 90_000, () => {
      if (this.child.exitCode !== null) throw Object.assign(new Error('the demo ended: ' + said), { fatal: true })
      return existsSync(join(this.dir, 'd/demo.json'))
    })
  }

  get now() { return JSON.parse(readFileSync(join(this.dir, 'd/demo.json'), 'utf8')) }
  node(name) { return this.now.nodes.find(n => n.name === name) }
  ask(url, method = 'GET') { return fetch(url, { method, headers: { authorization: `Bearer ${this.now.token}` }, signal: AbortSignal.timeout(2000) }) }

  async calm() {
    await until('one view of all', 90_000, async () => {
      const views = new Set()
      for (const n of this.now.nodes) {
        const s = await (await this.ask(`${n.admin}/api/v1/status`)).json()
        if (!s.ring.settled || s.members.some(m => m.state !== 'up')) return false
        views.add(s.ring.view)
      }
      return views.size === 1
    })
  }

  async revive(name) {
    await until(`start of ${name}`, 10_000, async () => (await this.ask(`${this.now.control}/nodes/${name}/start`, 'POST')).ok)
    await this.calm()
  }

  async stop() {
    if (this.child?.exitCode === null) this.child.kill('SIGTERM')
    await this.ended
    rmSync(this.dir, { recursive: true, force: true })
  }
}

// watch is run in the page: it notes when what is drawn of a node changes, after
// the frame that shows it.
function watch() {
  window.drawn = []
  const note = t => {
    const d = { node: t.dataset.node, out: t.classList.contains('out'), changed: Date.now() }
    requestAnimationFrame(() => setTimeout(() => window.drawn.push({ ...d, at: Date.now() })))
  }
  new MutationObserver(list => { for (const m of list) if (m.target.dataset?.node) note(m.target) })
    .observe(document.body, { subtree: true, attributes: true, attributeFilter: ['data-looks', 'class'] })
}

const broken = [], result = { api: 1, ok: true, crashes: [], switches: [], axe: {}, cpu: null, broken }
const held = (ok, text) => { if (!ok) { broken.push(text); say('BROKEN:', text) } }
const demo = new Demo(), profile = mkdtempSync(join(tmpdir(), 'rain-chromium-'))
if (shots) mkdirSync(shots, { recursive: true })
let browser

async function open(width, scheme) {
  const context = await browser.newContext({ viewport: { width, height: width > 800 ? 900 : 844 }, colorScheme: scheme, bypassCSP: false })
  const page = await context.newPage()
  page.on('console', m => {
    if (m.type() === 'error' && !/ERR_(CONNECTION|EMPTY|NETWORK|INCOMPLETE|SOCKET|ABORTED)|status of 503/.test(m.text())) held(false, `console: ${m.text()}`)
  })
  page.on('pageerror', err => held(false, `the page threw: ${err.message}`))
  await page.goto(demo.now.gui)
  await page.waitForFunction(n => document.querySelectorAll('[data-node][data-looks="up"]').length === n, demo.now.nodes.length, { timeout: 60_000 })
  held(!page.url().includes('token'), 'the token is still in the address bar')
  await page.evaluate(watch)
  return page
}

const looks = (page, node, want, ms = 10_000) => page.waitForFunction(([n, w]) => w.includes(document.querySelector(`[data-node="${n}"]`)?.dataset.looks), [node, [want].flat()], { timeout: ms })

// crash kills a node that the page does not look through.
async function crash(page, i) {
  const lead = await page.evaluate(() => window.rain.cluster.name)
  const victims = demo.now.nodes.map(n => n.name).filter(n => n !== lead), victim = victims[i % victims.length]
  await page.evaluate(() => { window.drawn.length = 0 })
  const killed = Date.now()
  process.kill(demo.node(victim).pid, 'SIGKILL')
  await looks(page, victim, ['dead', 'down', 'frozen'])
  await sleep(300)
  const seen = await page.evaluate(v => window.drawn.find(d => d.node === v && d.out), victim)
  const at = await until('the view change', 10_000, async () => {
    const times = [], id = demo.node(victim).id
    for (const n of demo.now.nodes.filter(n => n.name !== victim)) {
      const { events } = await (await demo.ask(`${n.admin}/api/v1/events`)).json()
      times.push(...events.filter(e => e.kind === 'view' && e.why?.startsWith('failed') && e.why.includes(id)).map(e => Date.parse(e.time)).filter(t => t >= killed - 5))
    }
    return times.length && Math.min(...times)
  })
  const ms = seen ? seen.at - at : Infinity
  result.crashes.push({ node: victim, view_change_after_ms: at - killed, changed_after_view_change_ms: seen ? seen.changed - at : Infinity, drawn_after_view_change_ms: ms })
  await demo.revive(victim)
  await looks(page, victim, 'up')
}

// leave kills the node that the page looks through.
async function leave(page) {
  const { name, lead } = await page.evaluate(() => ({ name: window.rain.cluster.name, lead: window.rain.cluster.lead }))
  await page.evaluate(old => {
    window.switched = 0
    const t = setInterval(() => {
      const c = window.rain.cluster
      if (c.lead !== old && c.status.node !== c.moved?.from && c.connected) { window.switched = Date.now(); clearInterval(t) }
    }, 10)
  }, lead)
  const killed = Date.now()
  process.kill(demo.node(name).pid, 'SIGKILL')
  await page.waitForFunction(() => window.switched, null, { timeout: 10_000 })
  const ms = await page.evaluate(() => window.switched) - killed
  const to = await page.evaluate(() => window.rain.cluster.name)
  result.switches.push({ from: name, to, after_ms: ms })
  held(ms < SWITCH_MS, `the page went from ${name} to ${to} after ${ms} ms`)
  await looks(page, name, 'dead')
  held(await page.locator('[data-alarm="moved"]').isVisible(), 'the page does not say that it went on through another node')
  if (shots) await page.screenshot({ path: join(shots, 'moved.png') })
  // The start button, from a page whose own node is dead.
  await page.click(`[data-node="${name}"]`)
  await page.getByRole('button', { name: 'Start', exact: true }).click()
  await looks(page, name, 'up', 30_000)
  await page.getByRole('button', { name: 'Close' }).click()
  await demo.calm()
}

async function buttons(page) {
  const order = async (node, first, second) => {
    await page.click(`[data-node="${node}"]`)
    await page.getByRole('button', { name: first, exact: true }).click()
    if (second) await page.getByRole('button', { name: second, exact: true }).click()
  }
  const close = () => page.getByRole('button', { name: 'Close' }).click()
  await order('n3', 'Freeze', 'Freeze n3')
  await looks(page, 'n3', 'frozen')
  await page.getByRole('button', { name: 'Thaw', exact: true }).click()
  await looks(page, 'n3', 'up', 30_000)
  await close()
  await demo.calm()
  await order('n2', 'Drain', 'Drain n2')
  await looks(page, 'n2', 'draining')
  await page.getByRole('button', { name: 'Take back into service' }).click()
  await looks(page, 'n2', 'up')
  await close()
  const move = await page.evaluate(() => { const c = window.rain.cluster, v = c.status.vips[0]; return { addr: v.addr.replace(/:\d+$/, ''), to: c.members.find(m => m.name !== v.holder).name } })
  await page.getByLabel(`Holder of ${move.addr}`).selectOption(move.to)
  await page.getByRole('button', { name: 'Move it' }).click()
  await page.waitForFunction(m => window.rain.cluster.status.vips.find(v => v.addr.startsWith(m.addr)).holder === m.to, move, { timeout: 10_000 })
}

async function isolation(page) {
  const name = await page.evaluate(() => window.rain.cluster.name)
  await page.click(`[data-node="${name}"]`)
  await page.getByRole('button', { name: 'Isolate', exact: true }).click()
  await page.getByRole('button', { name: `Isolate ${name}`, exact: true }).click()
  const alarm = page.locator('[data-alarm="isolated"]')
  await alarm.waitFor({ timeout: 10_000 })
  await page.waitForFunction(() => /see each other/.test(document.querySelector('[data-alarm="isolated"]')?.textContent ?? ''), null, { timeout: 10_000 })
  result.isolated = (await alarm.innerText()).replace(/\s+/g, ' ')
  await page.getByRole('button', { name: 'Close' }).click()
  if (shots) await page.screenshot({ path: join(shots, 'isolated.png'), fullPage: true })
  await page.getByRole('button', { name: /^Look through/ }).click()
  await looks(page, name, 'isolated')
  await page.click(`[data-node="${name}"]`)
  await page.getByRole('button', { name: 'Heal all its links' }).click()
  await looks(page, name, 'up', 30_000)
  await page.getByRole('button', { name: 'Close' }).click()
  await demo.calm()
}

// matrix looks at who hears whom while two nodes do not, and while the page does
// not reach one that lives.
async function matrix(page) {
  const text = (p, pair, what) => p.waitForFunction(([pair, what]) => new RegExp(what).test(document.querySelector(`[data-pair="${pair}"]`)?.innerText ?? ''), [pair, what], { timeout: 15_000 })
  await page.evaluate(() => window.rain.cluster.fault('cut', 'n2', { peer: 'n3' }))
  for (const pair of ['n2 n3', 'n3 n2']) await text(page, pair, '^by n[14]')
  await text(page, 'n1 n3', 's$')
  await page.click('[data-pair="n2 n3"]')
  await page.waitForFunction(() => /down\s+(silence|follow)/.test(document.querySelector('[data-history]')?.innerText ?? ''), null, { timeout: 10_000 })
  result.history = (await page.locator('[data-history] li').first().innerText()).replace(/\s+/g, ' ')
  if (shots) await page.screenshot({ path: join(shots, 'links.png'), fullPage: true })
  await page.getByRole('button', { name: 'Close' }).click()
  await page.evaluate(() => window.rain.cluster.heal('n2', 'n3'))
  await text(page, 'n2 n3', 's$')
  const blind = await browser.newContext({ viewport: { width: 1440, height: 900 } })
  const away = new URL(demo.node('n4').admin).origin
  await blind.route(u => u.origin === away, r => r.abort())
  const other = await blind.newPage()
  await other.goto(`${demo.node('n1').admin}/#token=${demo.now.token}`)
  await text(other, 'n4 n2', '^1/1')
  await blind.close()
}

async function findings(page, what) {
  await page.evaluate(axe) // into the page by the debugger: its policy forbids other ways
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }))
  result.axe[what] = violations.length
  for (const v of violations) held(false, `axe, ${what}: ${v.id}: ${v.nodes.map(n => n.target).slice(0, 3).join(' ; ')}`)
}

// cpuOf is a process's user and system time in ms.
function cpuOf(pid) {
  const f = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(f[11]) + Number(f[12])) * 10
}

// kids are the browser's processes with their kind: those below the one that
// was started with our mark.
function kids() {
  const all = []
  for (const p of readdirSync('/proc')) {
    if (!/^\d+$/.test(p)) continue
    try {
      const cmd = readFileSync(`/proc/${p}/cmdline`, 'utf8')
      all.push({ pid: Number(p), parent: Number(readFileSync(`/proc/${p}/stat`, 'utf8').split(') ')[1].split(' ')[1]), cmd, kind: /--type=([a-z-]+)/.exec(cmd)?.[1] ?? 'browser' })
    } catch { /* it ended meanwhile */ }
  }
  const out = all.filter(p => p.cmd.includes(`--rain-test=${profile}`))
  for (let n = -1; n !== out.length;) {
    n = out.length
    for (const p of all) if (!out.includes(p) && out.some(q => q.pid === p.parent)) out.push(p)
  }
  return out
}

// cpu compares the nodes with one open page and with none.
async function cpu() {
  const node = () => demo.now.nodes.map(n => cpuOf(n.pid))
  const over = async (ms, pids) => {
    const a = pids(), from = performance.now()
    await sleep(ms)
    const took = performance.now() - from
    return pids().map((x, i) => (x - a[i]) / took * 100)
  }
  await sleep(2000)
  const idle = await over(cpuSeconds * 1000, node)
  const page = await open(1440, 'light')
  await sleep(4000)
  const browserPids = kids()
  const both = await over(cpuSeconds * 1000, () => [...node(), ...browserPids.map(k => cpuOf(k.pid))])
  await page.context().close()
  const round = x => Number(x.toFixed(2))
  const kinds = {}
  browserPids.forEach((k, i) => { kinds[k.kind] = round((kinds[k.kind] ?? 0) + both[idle.length + i]) })
  result.cpu = {
    seconds: cpuSeconds, node_idle_percent: idle.map(round), node_with_page_percent: both.slice(0, idle.length).map(round),
    lead_more_percent: round(both[0] - idle[0]), tab_percent: kinds.renderer ?? 0, browser_percent: kinds,
  }
}

try {
  await demo.start()
  browser = await chromium.launch({ executablePath: program, headless: true, args: [...flags, `--rain-test=${profile}`] })
  await demo.calm()
  if (cpuSeconds && process.platform === 'linux') await cpu()
  for (const scheme of ['light', 'dark']) {
    for (const width of [390, 1440]) {
      const page = await open(width, scheme)
      await sleep(3000)
      if (shots) await page.screenshot({ path: join(shots, `${width}-${scheme}.png`), fullPage: true })
      await findings(page, `${width} ${scheme}`)
      await page.click('[data-node="n2"]')
      await page.getByRole('button', { name: 'Crash', exact: true }).click()
      await sleep(200)
      if (shots) await page.screenshot({ path: join(shots, `order-${width}-${scheme}.png`) })
      await findings(page, `${width} ${scheme}, an order`)
      await page.context().close()
    }
  }
  await demo.calm()
  const page = await open(1440, 'light')
  for (let i = 0; i < crashes; i++) await crash(page, i)
  const drawn = result.crashes.map(c => c.drawn_after_view_change_ms).sort((a, b) => a - b)
  result.drawn_median_ms = drawn[drawn.length >> 1]
  held(!(result.drawn_median_ms >= DRAWN_MS), `half of the crashes were drawn ${result.drawn_median_ms} ms or more after the view change`)
  if (shots) await page.screenshot({ path: join(shots, 'after-crashes.png'), fullPage: true })
  await buttons(page)
  await matrix(page)
  await isolation(page)
  await leave(page)
} catch (err) {
  held(false, err.message)
} finally {
  await browser?.close().catch(() => {})
  await demo.stop()
  rmSync(profile, { recursive: true, force: true })
}
result.ok = broken.length === 0
if (json) {
  console.log(JSON.stringify(result))
} else {
  for (const c of result.crashes) console.log(`${c.node} killed: view change after ${c.view_change_after_ms} ms, in the page ${c.changed_after_view_change_ms} ms and on the screen ${c.drawn_after_view_change_ms} ms after that`)
  for (const s of result.switches) console.log(`the page's own node ${s.from} killed: it went on through ${s.to} after ${s.after_ms} ms`)
  if (result.isolated) console.log(`isolated: "${result.isolated}"`)
  if (result.cpu) console.log(`CPU for one open page: node ${result.cpu.lead_more_percent} % more, tab ${result.cpu.tab_percent} % (all: ${JSON.stringify(result.cpu.browser_percent)})`)
  console.log(`axe findings: ${JSON.stringify(result.axe)}`)
  console.log(result.ok ? 'held' : `BROKEN: ${broken.join('; ')}`)
}
process.exit(result.ok ? 0 : 1)
