/**
 * Compares what the source files import with the table of arrows in docs/architecture.md: `node --import tsx scripts/layers.ts`,
 * a part of `npm run lint`.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const GUIDE = 'docs/architecture.md';

/** What is wrong today, and on its way out. Nothing may be added; what has become needless is an error too. */
const REMAINS: readonly string[] = [];

/** A row of the table. Folders end in a slash. */
export interface Layer {
  /** Files and folders that it consists of. */
  parts: string[];
  /** Files and folders that it may import from, each of which is a part, or contains some, of rows above. */
  uses: string[];
  /** Packages; `node:` is all of Node's own, `*` any at all. */
  packages: string[];
}

/** What a file imports: paths from the root of the repository, and packages. */
export type Imports = ReadonlyMap<string, readonly string[]>;

/** Reads the table that begins with the column "Part". @throws Error for a row that names what no row above it has. */
export function readLayers(markdown: string): Layer[] {
  const lines = markdown.split('\n');
  const head = lines.findIndex((line) => line.startsWith('| Part |'));
  if (head < 0) throw new Error(`${GUIDE} has no table with a column "Part"`);
  const layers: Layer[] = [];
  for (const line of lines.slice(head + 2)) {
    if (!line.startsWith('|')) break;
    const [parts, uses, packages] = line
      .split('|')
      .slice(1, 4)
      .map((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!));
    for (const use of uses!)
      if (!layers.some((above) => above.parts.some((part) => covers(use, part) || covers(part, use))))
        throw new Error(`${GUIDE}: ${parts![0]} may use ${use}, which no row above it has`);
    layers.push({ parts: parts!, uses: uses!, packages: packages! });
  }
  return layers;
}

function covers(part: string, path: string): boolean {
  return part === path || (part.endsWith('/') && path.startsWith(part));
}

/** The row of a file: that with the longest part. */
function layerOf(path: string, layers: readonly Layer[]): Layer | undefined {
  let found: Layer | undefined;
  let length = 0;
  for (const layer of layers)
    for (const part of layer.parts)
      if (covers(part, path) && part.length > length) {
        found = layer;
        length = part.length;
      }
  return found;
}

/** Whether a name is a path in the repository, and not a package. */
function isPath(name: string, imports: Imports): boolean {
  return imports.has(name) || /^(device|guest-images|harness|test|web)\//.test(name);
}

/** The imports that the table does not allow, as `from → to`, and the files that it does not know. */
export function findBreaches(layers: readonly Layer[], imports: Imports): string[] {
  const breaches: string[] = [];
  for (const [file, names] of imports) {
    const layer = layerOf(file, layers);
    if (!layer) {
      breaches.push(`${file} is in no row of the table`);
      continue;
    }
    for (const name of names) {
      const isAllowed = isPath(name, imports)
        ? layerOf(name, layers) === layer || layer.uses.some((use) => covers(use, name))
        : layer.packages.some(
            (own) => own === '*' || name === own || name.startsWith(own === 'node:' ? own : `${own}/`),
          );
      if (!isAllowed) breaches.push(`${file} → ${name}`);
    }
  }
  return breaches;
}

/**
 * Circles among folders of one row that lie next to each other, each as the folders of which it consists: `a/b/ → a/c/ → a/b/`. What
 * lies in `a` itself may import from both, and they from it.
 */
export function findCircles(layers: readonly Layer[], imports: Imports): string[] {
  const arrows = new Map<string, Set<string>>();
  for (const [from, names] of imports)
    for (const to of names) {
      if (!imports.has(to) || layerOf(from, layers) !== layerOf(to, layers)) continue;
      const [a, b] = [from.split('/'), to.split('/')];
      let n = 0;
      while (a[n] === b[n]) n++;
      if (n >= a.length - 1 || n >= b.length - 1) continue;
      const [source, target] = [a, b].map((path) => `${path.slice(0, n + 1).join('/')}/`);
      arrows.set(source!, (arrows.get(source!) ?? new Set()).add(target!));
    }
  const circles: string[] = [];
  const done = new Set<string>();
  const walk = (folder: string, path: string[]): void => {
    const at = path.indexOf(folder);
    if (at >= 0) circles.push(nameOf(path.slice(at)));
    if (at >= 0 || done.has(folder)) return;
    for (const next of arrows.get(folder) ?? []) walk(next, [...path, folder]);
    done.add(folder);
  };
  for (const folder of arrows.keys()) walk(folder, []);
  return circles;
}

/** The same wherever one comes into the circle. */
function nameOf(folders: string[]): string {
  const first = folders.indexOf([...folders].sort()[0]!);
  return [...folders.slice(first), ...folders.slice(0, first), folders[first]].join(' → ');
}

/** What one source file imports, types and dynamic imports included. @throws Error for a file that can't be parsed. */
export function importsOf(file: string, text: string): string[] {
  const { module, errors } = parseSync(file, text);
  if (errors.length) throw new Error(`${file}: ${errors[0]!.message}`);
  const names = [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) =>
      entries.flatMap(({ moduleRequest }) => moduleRequest?.value ?? []),
    ),
    ...module.dynamicImports.flatMap(
      ({ moduleRequest: { start, end } }) => /^['"](.*)['"]$/.exec(text.slice(start, end))?.[1] ?? [],
    ),
  ];
  return [...new Set(names)].map((name) => (name.startsWith('.') ? posix.join(posix.dirname(file), name) : name));
}

/** Of all files that git knows or may know soon. */
export function readImports(): Imports {
  const list = ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts', '*.mts', '*.js', '*.mjs'];
  const files = execFileSync('git', list, { cwd: ROOT, encoding: 'utf8' }).trim().split('\n');
  const imports = new Map<string, string[]>();
  for (const file of files) {
    let text: string;
    try {
      text = readFileSync(join(ROOT, file), 'utf8');
    } catch {
      continue; // Removed, and git has not been told.
    }
    imports.set(file, importsOf(file, text));
  }
  return imports;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const layers = readLayers(readFileSync(join(ROOT, GUIDE), 'utf8'));
  const imports = readImports();
  const found = [...findBreaches(layers, imports), ...findCircles(layers, imports)];
  const complaints = [
    ...found.filter((breach) => !REMAINS.includes(breach)).map((breach) => `${breach}: ${GUIDE} allows no such import`),
    ...REMAINS.filter((breach) => !found.includes(breach)).map(
      (breach) => `${breach} is gone: remove it from the list in scripts/layers.ts`,
    ),
  ];
  for (const complaint of complaints) console.error(complaint);
  process.exitCode = complaints.length ? 1 : 0;
}
