// node build.mjs [FOLDER]: the dashboard's files, the same bytes each time, into FOLDER or where ngpu serves them from.
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { en } from './src/en.js';
import { zh } from './src/zh.js';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, '../ngpu/http/dashboard/built');
const BUNDLED = { preact: 'LICENSE', htm: 'LICENSE', uplot: 'LICENSE' };

await checkWords();
const made = await build({
  absWorkingDir: here,
  entryPoints: { app: 'src/main.js' },
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['es2022'],
  charset: 'utf8',
  legalComments: 'none', // they stand in licences.txt, whole
  outdir: 'out',
  write: false,
});
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const names = {};
for (const file of made.outputFiles) {
  const type = file.path.endsWith('.css') ? 'css' : 'js';
  names[type] = await put(`app.${type}`, file.contents);
}
names.icon = await put('icon.svg', await readFile(join(here, 'src/icon.svg')));
names.licences = await put('licences.txt', Buffer.from(await licences()));
let page = await readFile(join(here, 'src/index.html'), 'utf8');
for (const [word, name] of Object.entries(names)) page = page.replaceAll(`{${word}}`, `assets/${name}`);
await writeFile(join(out, 'index.html'), page);
await writeFile(join(out, 'sources.sha256'), await sources());

// A name that changes with what is in the file, so that browsers may keep it for ever.
async function put(name, contents) {
  const digest = createHash('sha256').update(contents).digest('hex').slice(0, 12);
  const [stem, type] = name.split('.');
  await writeFile(join(out, `${stem}-${digest}.${type}`), contents);
  return `${stem}-${digest}.${type}`;
}

async function licences() {
  const parts = [];
  for (const [name, file] of Object.entries(BUNDLED)) {
    const folder = join(here, 'node_modules', name);
    const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    parts.push(`${name} ${version}\n\n${(await readFile(join(folder, file), 'utf8')).trim()}\n`);
  }
  return parts.join(`\n${'-'.repeat(80)}\n\n`);
}

// A line for each source, as sha256sum writes it: a test compares them where there is no npm.
async function sources() {
  const files = ['build.mjs', 'package-lock.json', 'package.json'];
  files.push(...(await readdir(join(here, 'src'))).map((name) => `src/${name}`));
  const lines = [];
  for (const name of files.sort()) {
    lines.push(`${createHash('sha256').update(await readFile(join(here, name))).digest('hex')}  ${name}\n`);
  }
  return lines.join('');
}

// Both languages have the same words, and every word that is asked for is one.
async function checkWords() {
  const wrong = [
    ...Object.keys(en).filter((key) => !(key in zh)).map((key) => `zh.js lacks ${key}`),
    ...Object.keys(zh).filter((key) => !(key in en)).map((key) => `en.js lacks ${key}`),
  ];
  for (const name of await readdir(join(here, 'src'))) {
    if (!name.endsWith('.js')) continue;
    const text = await readFile(join(here, 'src', name), 'utf8');
    for (const [, key] of text.matchAll(/\bt\('([^']+)'/g)) {
      if (!(key in en)) wrong.push(`${name} asks for ${key}`);
    }
  }
  if (wrong.length) throw new Error(wrong.join('\n'));
}
