// The player of one film, below /video/NAME/. It keeps at most AHEAD seconds in
// hand, so that what one sees is what the cluster can do, and not what the
// browser has stored; it tells which node sent each segment.
import Hls from 'hls.js/light'
import { Sources, loaderFor } from './sources.js'

const AHEAD = 6 // s
const $ = id => document.getElementById(id)
const video = $('film')
const folder = new URL('.', location.href).pathname
const sources = new Sources([location.host])
const sent = [] // every segment that came: for the page, and for tests

function note(text) {
  $('note').textContent = text
  $('note').hidden = !text
}

const colours = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
// colour is the same for a node each time: by the number in its name, if it has one.
const colour = node => colours[((Number(/(\d+)$/.exec(node)?.[1] ?? node.length) || 1) - 1) % colours.length]
function seen(answer) {
  const n = /\/seg-(\d+)\.m4s$/.exec(answer.path)
  if (!n) return
  sent.push({ segment: Number(n[1]), ...answer })
  const li = $('segments').children[Number(n[1])]
  if (!li) return
  li.className = 'node-' + colour(answer.node)
  li.textContent = answer.node
  li.title = `segment ${n[1]}: ${answer.node} at ${answer.host}, ${Math.round(answer.bytes / 1024)} KiB in ${Math.round(answer.took)} ms`
}

function ahead() {
  const b = video.buffered, t = video.currentTime
  for (let i = 0; i < b.length; i++) if (b.start(i) - 0.1 <= t && t <= b.end(i)) return b.end(i) - t
  return 0
}

const bits = b => b >= 1e6 ? `${(b / 1e6).toFixed(1)} Mbit/s` : `${Math.round(b / 1e3)} kbit/s`

function show(film, hls) {
  const last = sent.at(-1)
  const level = hls?.levels?.[Math.max(0, hls.currentLevel)]
  const quality = level ? `${level.width} × ${level.height} at ${bits(level.averageBitrate || level.bitrate)}` : `${film.width} × ${film.height} at ${bits(film.bits)}`
  const quick = video.getVideoPlaybackQuality?.()
  $('facts').textContent = `${quality}, ${Number(film.frame_rate.toFixed(2))} pictures a second` +
    (quick && quick.droppedVideoFrames > 9 ? `, ${quick.droppedVideoFrames} of ${quick.totalVideoFrames} dropped` : '')
  $('now').textContent = last ? `${ahead().toFixed(1)} s in hand, the last segment (${last.segment}) came from ${last.node} in ${Math.round(last.took)} ms` : ''
  for (const li of $('segments').children) {
    const at = Number(li.dataset.at)
    li.toggleAttribute('aria-current', at <= video.currentTime && video.currentTime < at + Number(li.dataset.long))
  }
}

function seek(t) { if (Number.isFinite(video.duration)) video.currentTime = Math.max(0, Math.min(video.duration - 0.1, t)) }

// nextCaptions shows the first track, then the next one, and after the last none.
function nextCaptions() {
  const all = [...video.textTracks], now = all.findIndex(t => t.mode === 'showing')
  all.forEach((t, i) => { t.mode = i === now + 1 ? 'showing' : 'disabled' })
}

function keys(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT|BUTTON|A)$/.test(e.target.tagName)) return
  const k = e.key
  if (k === ' ' || k === 'k') video.paused ? video.play() : video.pause()
  else if (k === 'ArrowLeft' || k === 'j') seek(video.currentTime - 5)
  else if (k === 'ArrowRight' || k === 'l') seek(video.currentTime + 5)
  else if (k === 'ArrowUp') video.volume = Math.min(1, video.volume + 0.1)
  else if (k === 'ArrowDown') video.volume = Math.max(0, video.volume - 0.1)
  else if (k === 'Home') seek(0)
  else if (k === 'End') seek(video.duration)
  else if (k === 'm') video.muted = !video.muted
  else if (k === 'c') nextCaptions()
  else if (k === 'f') document.fullscreenElement ? document.exitFullscreen() : (video.requestFullscreen?.() ?? video.webkitEnterFullscreen?.())
  else if (/^[0-9]$/.test(k)) seek(video.duration * Number(k) / 10)
  else return
  e.preventDefault()
  e.stopPropagation()
}

function timeline(film) {
  for (let n = 0; n < film.segments; n++) {
    const li = document.createElement('li')
    li.dataset.at = film.duration_s * n / film.segments
    li.dataset.long = film.duration_s / film.segments
    li.addEventListener('click', () => seek(Number(li.dataset.at)))
    $('segments').append(li)
  }
}

function play(film) {
  if (!Hls.isSupported()) { // an iPhone of old plays HLS by itself
    video.src = video.canPlayType('application/vnd.apple.mpegurl') ? 'index.m3u8' : 'film.mp4'
    return null
  }
  const keep = Math.max(2, AHEAD - film.longest_s) // the next one is fetched below this
  const patient = {
    default: {
      maxTimeToFirstByteMs: 40_000, maxLoadTimeMs: 60_000,
      timeoutRetry: { maxNumRetry: 1000, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: { maxNumRetry: 1000, retryDelayMs: 200, maxRetryDelayMs: 1000 },
    },
  }
  const hls = new Hls({
    loader: loaderFor(sources, seen),
    maxBufferLength: keep, maxMaxBufferLength: keep, backBufferLength: 30,
    fragLoadPolicy: patient, playlistLoadPolicy: patient, manifestLoadPolicy: patient,
    enableWorker: false, // a worker from a blob would need a laxer policy for scripts
  })
  hls.on(Hls.Events.ERROR, (_, e) => {
    if (!e.fatal) return
    if (e.response?.code === 410) return note('This film was replaced: load the page again.')
    if (e.type === Hls.ErrorTypes.MEDIA_ERROR) return hls.recoverMediaError()
    note('No node answers. The film goes on by itself as soon as one does.')
    setTimeout(() => hls.startLoad(), 500)
  })
  hls.on(Hls.Events.FRAG_BUFFERED, () => note(''))
  hls.loadSource(new URL('index.m3u8', location.href).href)
  hls.attachMedia(video)
  return hls
}

async function main() {
  const { body } = await sources.get(folder + 'film.json')
  const film = JSON.parse(new TextDecoder().decode(body))
  sources.add(film.hosts)
  if (film.poster) video.poster = 'poster.jpg'
  for (const lang of film.captions) {
    const t = document.createElement('track')
    const label = lang ? new Intl.DisplayNames([lang], { type: 'language' }).of(lang) : 'Captions'
    Object.assign(t, { kind: 'captions', label, srclang: lang || 'und', src: lang ? `captions.${lang}.vtt` : 'captions.vtt' })
    video.append(t)
  }
  timeline(film)
  const hls = play(film)
  document.addEventListener('keydown', keys, true)
  $('play').hidden = false
  $('play').addEventListener('click', () => { video.play(); video.focus() })
  video.addEventListener('play', () => { $('play').hidden = true })
  show(film, hls)
  setInterval(() => show(film, hls), 250)
  window.rain = { film, hls, sources, sent, ahead }
}

// The page loads this file from two addresses, should one die in between; who
// comes first plays.
if (!window.rainPlayer) {
  window.rainPlayer = true
  main().catch(err => note(`The film cannot be shown: ${err.message}`))
}
