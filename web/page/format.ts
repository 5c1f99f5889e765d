const TYPE_LETTERS: Record<number, string> = {
  0o14: 's',
  0o12: 'l',
  0o10: '-',
  0o6: 'b',
  0o4: 'd',
  0o2: 'c',
  0o1: 'p',
};

/** A mode as `ls -l` shows it. */
export function formatMode(mode: number): string {
  const bits = [...'rwxrwxrwx'].map((letter, n) => (mode & (0o400 >> n) ? letter : '-'));
  const special = [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ] as const;
  for (const [bit, at, letter] of special) if (mode & bit) bits[at] = bits[at] === '-' ? letter.toUpperCase() : letter;
  return (TYPE_LETTERS[mode >> 12] ?? '?') + bits.join('');
}

const OWNERS: Record<number, string> = { 0: 'root', 1: 'daemon', 1000: 'user', 65534: 'nobody' };

/** As the guest's /etc/passwd has it. */
export function formatOwner(uid: number): string {
  return OWNERS[uid] ?? String(uid);
}

export function formatTime(milliseconds: number): string {
  return new Date(milliseconds).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

/** In few characters: the time of today's, the date of others. */
export function formatDay(milliseconds: number): string {
  const time = new Date(milliseconds);
  return time.toDateString() === new Date().toDateString()
    ? time.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' })
    : time.toLocaleDateString(undefined, { dateStyle: 'short' });
}

/** The time alone for today's, the date as well for others. */
export function formatMoment(milliseconds: number): string {
  const time = new Date(milliseconds);
  return time.toDateString() === new Date().toDateString()
    ? time.toLocaleTimeString()
    : time.toLocaleString(undefined, { dateStyle: 'short', timeStyle: 'short' });
}
