/** `0x1f` for 31. */
export function hex(value: number, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

/** Milliseconds since 1970 as a time of the day, with milliseconds. */
export function formatClock(time: number): string {
  return new Date(time).toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    fractionalSecondDigits: 3,
  });
}

let steps: number | undefined;

/** Milliseconds that this browser's clock goes on by at least: for a page alone, browsers make it coarse. */
export function clockStep(): number {
  if (steps !== undefined) return steps;
  steps = Infinity;
  for (let n = 0; n < 5; n++) {
    const before = performance.now();
    let after = before;
    while (after === before) after = performance.now();
    steps = Math.min(steps, after - before);
  }
  // As text it is 0.1 and not 0.09999990463256836.
  return (steps = Number(steps.toPrecision(1)));
}

/** Milliseconds as a visitor reads them; less than the clock can tell is said to be that. */
export function formatDuration(milliseconds: number, step = clockStep()): string {
  if (milliseconds < step * 0.99) return `< ${formatDuration(step, 0)}`;
  if (milliseconds < 0.9995) return `${Math.round(milliseconds * 1000)} µs`;
  if (milliseconds < 1000) return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

const FLAGS: Record<number, string> = {
  0o2000: 'O_APPEND',
  0o4000: 'O_NONBLOCK',
  0o40000: 'O_DIRECT',
  0o200000: 'O_DIRECTORY',
  0o400000: 'O_NOFOLLOW',
  0o4010000: 'O_SYNC',
};

/** O_* of Linux on x86. */
export function formatOpenFlags(flags: number): string {
  const mode = ['O_RDONLY', 'O_WRONLY', 'O_RDWR'][flags & 3] ?? `${flags & 3}`;
  return [
    mode,
    ...Object.entries(FLAGS)
      .filter(([bit]) => (flags & Number(bit)) === Number(bit))
      .map(([, name]) => name),
  ].join(' ');
}
