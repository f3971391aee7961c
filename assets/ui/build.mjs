// Builds the pages' scripts and styles into ../dist, with a gzip beside each.
// Run by 'make build' after 'npm ci'. Writes nothing else and nothing elsewhere.
import { build } from 'esbuild'
import { gzipSync } from 'node:zlib'
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = f => fileURLToPath(new URL(f, import.meta.url))
const dist = here('../dist/')

for (const f of readdirSync(dist)) if (f !== '.gitignore') rmSync(dist + f)
await build({
  entryPoints: [here('player.js'), here('player.css')],
  outdir: dist,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['chrome100', 'firefox100', 'safari15'],
  legalComments: 'linked',
  logLevel: 'warning',
})
copyFileSync(here('icon.svg'), dist + 'icon.svg')
const licence = readFileSync(here('node_modules/hls.js/LICENSE'), 'utf8')
writeFileSync(dist + 'licences.txt', 'player.js contains hls.js:\n\n' + licence)
for (const f of readdirSync(dist)) {
  if (!/\.(js|css)$/.test(f)) continue
  writeFileSync(dist + f + '.gz', gzipSync(readFileSync(dist + f), { level: 9 }))
}
console.log(readdirSync(dist).filter(f => f !== '.gitignore').join(' '))
