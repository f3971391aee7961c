// Builds the pages into ../dist, with a gzip beside each file: the player
// (player.js, player.css) and, below gui, the live picture of the admin address.
// Run by 'make build' after 'npm ci'. Writes nothing else and nothing elsewhere.
import { build } from 'vite'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { gzipSync } from 'node:zlib'
import { copyFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = f => fileURLToPath(new URL(f, import.meta.url))
const dist = here('../dist/'), gui = dist + 'gui/'
const common = { configFile: false, logLevel: 'warn', publicDir: false }
const plain = { target: ['chrome100', 'firefox100', 'safari15'], emptyOutDir: false, assetsInlineLimit: 0, modulePreload: false, reportCompressedSize: false, chunkSizeWarningLimit: 1000 }

for (const f of readdirSync(dist)) if (f !== '.gitignore') rmSync(dist + f, { recursive: true })
await build({
  ...common,
  root: here('.'),
  plugins: [{ name: 'style', transform: (code, id) => id === here('player.js') ? `import './player.css'\n${code}` : null }],
  build: {
    ...plain,
    outDir: dist,
    rollupOptions: { input: here('player.js'), output: { entryFileNames: 'player.js', assetFileNames: 'player[extname]', codeSplitting: false } },
  },
})
await build({
  ...common,
  root: here('gui'),
  base: '/gui/',
  plugins: [svelte({
    configFile: false, compilerOptions: { runes: true },
    // What scrolls sideways must be reached by the keyboard.
    onwarn: (w, warn) => { if (w.code !== 'a11y_no_noninteractive_tabindex') warn(w) },
  })],
  build: {
    ...plain,
    target: ['chrome123', 'firefox121', 'safari17.5'], // light-dark(), container units
    outDir: gui,
    assetsDir: '.',
    rollupOptions: { output: { entryFileNames: 'gui-[hash].js', chunkFileNames: 'gui-[hash].js', assetFileNames: 'gui-[hash][extname]' } },
  },
})
copyFileSync(here('icon.svg'), dist + 'icon.svg')
copyFileSync(here('icon.svg'), gui + 'icon.svg')
const licence = name => `${name}:\n\n${readFileSync(here(`node_modules/${name}/${{ uplot: 'LICENSE', svelte: 'LICENSE.md' }[name] ?? 'LICENSE'}`), 'utf8')}`
writeFileSync(dist + 'licences.txt', 'player.js contains ' + licence('hls.js'))
writeFileSync(gui + 'licences.txt', 'The page contains parts of ' + licence('svelte') + '\n\nand ' + licence('uplot'))
for (const dir of [dist, gui]) {
  for (const f of readdirSync(dir)) {
    if (/\.(js|css|html)$/.test(f)) writeFileSync(dir + f + '.gz', gzipSync(readFileSync(dir + f), { level: 9 }))
  }
  console.log(readdirSync(dir).filter(f => f !== '.gitignore' && statSync(dir + f).isFile()).map(f => `${f} ${statSync(dir + f).size}`).join('\n'))
}
