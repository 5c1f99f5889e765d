import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Where this process runs, as three times 8 hex digits: the host, its boot, and the namespace of process numbers (of a container). */
export const PLACE = [
  hostname(),
  read(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')),
  read(() => readlinkSync('/proc/self/ns/pid')),
]
  .map((text) => createHash('sha256').update(text).digest('hex').slice(0, 8))
  .join('');

/** Whether `place` is on this host, before it was started last. */
export function isOfEarlierBoot(place: string): boolean {
  return place.slice(0, 8) === PLACE.slice(0, 8) && place.slice(8, 16) !== PLACE.slice(8, 16);
}

/** When a process of this place began, in the kernel's clock ticks since the boot; '' where that can't be told. */
export function startOf(pid: number): string {
  return statOf(pid)?.start ?? '';
}

/** Whether a process of this place runs, and is the one that began at `start` where that is known. One that was killed and not waited for does not. */
export function isRunning(pid: number, start = ''): boolean {
  const stat = statOf(pid);
  if (stat) return !'ZX'.includes(stat.state) && (start === '' || stat.start === start);
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** From proc_pid_stat(5). The program's name, in parentheses, may hold anything. */
function statOf(pid: number): { state: string; start: string } | undefined {
  const text = read(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.length > 19 ? { state: fields[0]!, start: fields[19]! } : undefined;
}

function read(action: () => string): string {
  try {
    return action();
  } catch {
    return '';
  }
}
