/** @throws Error with that message, unless it is so. */
export function expect(isSo: boolean, message: string): void {
  if (!isSo) throw new Error(message);
}

/** Of what is long, what lies around the first difference. */
const SHOWN = 200;

/** @throws Error that says of what it is, and what was expected. */
export function same(actual: unknown, expected: unknown, what: string): void {
  if (actual === expected) return;
  const [wanted, found] = [expected, actual].map(String) as [string, string];
  let at = 0;
  while (at < wanted.length && wanted[at] === found[at]) at++;
  const from = Math.max(0, at - SHOWN / 2);
  const show = (text: string) =>
    `${from ? '…' : ''}${text.slice(from, from + SHOWN)}${text.length > from + SHOWN ? '…' : ''}`;
  throw new Error(`${what}: expected ${show(wanted)}, found ${show(found)}`);
}
