import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GuestImageError, provideImage } from './errors.ts';

const CODENAME = 'bookworm';
const ETC_APT = '/etc/apt';
const KEYRINGS = ['/usr/share/keyrings/debian-archive-keyring.gpg', '/usr/share/keyrings/debian-archive-keyring.pgp'];

export interface Archive {
  uri: string;
  /** A file of keys; undefined for the machine's trusted ones. */
  signedBy?: string;
  isSecurity: boolean;
}

/**
 * A sources.list for bookworm, or another release, on the mirrors that this machine gets its Debian from, whatever
 * release it runs. Sources of others are left out.
 */
export async function privateSources(codename = CODENAME): Promise<string> {
  const archives: Archive[] = [];
  for (const path of await sourceFiles()) {
    const text = await readFile(path, 'utf8');
    archives.push(...(path.endsWith('.sources') ? parseDeb822(text) : parseOneLine(text)));
  }
  if (archives.length === 0) {
    throw new GuestImageError(
      `${ETC_APT} names no Debian archive: add one with the suite ${codename} (man sources.list says how)\n\n${provideImage()}`,
    );
  }
  const keyring = KEYRINGS.find((path) => existsSync(path));
  const lines = archives.flatMap(({ uri, signedBy = keyring, isSecurity }) => {
    const suites = isSecurity ? [`${codename}-security`] : [codename, `${codename}-updates`];
    return suites.map((suite) => `deb ${signedBy ? `[signed-by=${signedBy}] ` : ''}${uri} ${suite} main\n`);
  });
  return [...new Set(lines)].join('');
}

async function sourceFiles(): Promise<string[]> {
  const directory = join(ETC_APT, 'sources.list.d');
  const names = existsSync(directory) ? (await readdir(directory)).sort() : [];
  const files = names.filter((name) => /\.(list|sources)$/.test(name)).map((name) => join(directory, name));
  const list = join(ETC_APT, 'sources.list');
  return existsSync(list) ? [list, ...files] : files;
}

/** sources.list(5), one-line style. */
function parseOneLine(text: string): Archive[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+[^#\s]+)*)/.exec(line);
    if (!match) return [];
    const [, options = '', uri, suite, components] = match as unknown as [
      string,
      string | undefined,
      string,
      string,
      string,
    ];
    const signedBy = /(?:^|\s)signed-by=(\S+)/.exec(options)?.[1];
    return toArchives([uri], [suite], components.trim().split(/\s+/), signedBy);
  });
}

/** sources.list(5), deb822 style. */
function parseDeb822(text: string): Archive[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = new Map<string, string>();
    let last = '';
    for (const line of stanza.split('\n')) {
      if (line.startsWith('#')) continue;
      const field = /^([\w-]+):(.*)$/.exec(line);
      if (field) fields.set((last = field[1]!.toLowerCase()), field[2]!.trim());
      else if (last && /^\s/.test(line)) fields.set(last, `${fields.get(last)}\n${line.trim()}`);
    }
    const words = (name: string) => (fields.get(name) ?? '').split(/\s+/).filter(Boolean);
    if (!words('types').includes('deb') || /^(no|false|0|off)$/i.test(fields.get('enabled') ?? '')) return [];
    const signedBy = fields.get('signed-by');
    return toArchives(
      words('uris'),
      words('suites'),
      words('components'),
      signedBy?.startsWith('/') ? signedBy : undefined,
    );
  });
}

const DEBIAN_SUITES =
  /^(bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)(-updates|-security|\/updates)?\/?$/;

/** Debian's own archive has its suites and its components, and "debian" in the path of its mirrors. */
function toArchives(uris: string[], suites: string[], components: string[], signedBy?: string): Archive[] {
  const suite = suites.find((name) => DEBIAN_SUITES.test(name));
  if (!suite || !components.includes('main')) return [];
  return uris
    .filter((uri) => /debian/.test(uri))
    .map((uri) => ({
      uri,
      signedBy,
      isSecurity: suites.every((name) => /security|\/updates/.test(name)) || /security/.test(uri),
    }));
}
