/** What "Do it for me" may do, where it is nothing to type. */
export type Act =
  | { what: 'hold' | 'release' | 'serve' | 'snapshot' | 'rewind' }
  | { what: 'fork'; folder: 'own' | 'shared' }
  /** A file of the lesson's directory. */
  | { what: 'write'; path: string; text: string };

const PLAIN = ['hold', 'release', 'serve', 'snapshot', 'rewind'] as const;
const MAX_ACTS = 5;

/** One a line. @throws Error for what is none. */
export function parseActs(text: string): Act[] {
  const lines = text.split('\n').filter((line) => line.trim());
  if (lines.length > MAX_ACTS) throw new Error(`a step may have ${MAX_ACTS} acts`);
  return lines.map((line) => {
    const [what = '', path = '', ...words] = line.trim().split(' ');
    const plain = PLAIN.find((verb) => verb === what);
    if (plain && !path) return { what: plain };
    if (what === 'fork' && (path === 'own' || path === 'shared')) return { what, folder: path };
    if (what === 'write' && /^[\w-][\w.-]*$/.test(path))
      return { what, path, text: words.join(' ').replaceAll('\\n', '\n') };
    throw new Error(
      `${JSON.stringify(line)} is no act; there are ${PLAIN.join(', ')}, fork shared, fork own, and write FILE TEXT`,
    );
  });
}
