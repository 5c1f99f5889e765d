import type { V86 } from 'v86';
import { V86Machine } from '../../device/v86/adapter.ts';
import type { GuestAgent } from './agent/guest-agent.ts';
import { VmError } from './errors.ts';

/** A machine whose guest can sleep. */
interface Sleeper {
  readonly emulator: V86;
  readonly agent: GuestAgent;
}

/** What the kernel's `/sys/power/state` calls suspend to idle. Without ACPI some kernels sleep, and nothing wakes them. */
const SLEEP =
  '[ -d /sys/firmware/acpi ] || { echo no ACPI, so nothing would wake it >&2; exit 1; }; echo enabled > /sys/class/tty/ttyS0/power/wakeup && echo none > /sys/power/pm_test && exec echo freeze > /sys/power/state';
const POLL_INTERVAL = 500;
/**
 * A guest that runs fewer instructions than this in an interval, and waits at the end of nearly all of its slices, has nothing to do: its process
 * that does not end is asleep, then. On a host with other things to do few instructions alone say nothing.
 */
const ASLEEP_INSTRUCTIONS = 1_000_000;
const ASLEEP_WAITING = 0.9;
const MIN_SLICES = 4;
/** A byte that arrives on the way to sleep wakes nobody, so more follow. */
const KNOCK_INTERVAL = 300;
const PATIENCE = 60_000;

/** Returns when the guest sleeps. @throws VmError `guest`, `timeout`, or `stopped`. */
export async function suspendGuest({ emulator, agent }: Sleeper): Promise<void> {
  let failure: string | undefined;
  let isAwake = false;
  let lost: Error | undefined;
  const process = agent.spawn(['/bin/sh', '-c', SLEEP], { isKept: false });
  process.onStderr = (bytes) => (failure = (failure ?? '') + new TextDecoder().decode(bytes));
  const ended = process.exited.then(
    () => (isAwake = true),
    (error: Error) => {
      lost = error;
      isAwake = true;
    },
  );
  const { slices } = V86Machine.of(emulator);
  const count = () => ({ ...slices, instructions: emulator.get_instruction_counter() });
  /** At an earlier poll, since its command has started. */
  let before: ReturnType<typeof count> | undefined;
  for (const end = Date.now() + PATIENCE; ; ) {
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL))]);
    if (lost instanceof VmError) throw lost;
    if (isAwake) {
      throw new VmError(
        'guest',
        `the guest did not go to sleep: ${failure?.trim() || 'something woke it at once'}; that needs ACPI, and the driver "suspend" or Linux 6.12`,
      );
    }
    // It would seem to sleep.
    if (!emulator.is_running()) throw new VmError('stopped', 'the machine was stopped before its guest slept');
    const now = count();
    const all = before ? now.all - before.all : 0;
    const isTelling = all >= MIN_SLICES;
    if (before && isTelling) {
      const isIdle = now.waiting - before.waiting >= ASLEEP_WAITING * all;
      if (isIdle && now.instructions - before.instructions < ASLEEP_INSTRUCTIONS) return;
    }
    if (Date.now() > end) throw new VmError('timeout', `the guest did not go to sleep within ${PATIENCE / 1000} s`);
    if (process.pid !== undefined && (isTelling || !before)) before = now;
  }
}

/** Returns when the guest answers, which `answer` waits for. */
export async function wakeGuest(
  { emulator }: Pick<Sleeper, 'emulator'>,
  answer: (timeoutMs: number) => Promise<void>,
): Promise<void> {
  const knock = () => emulator.serial0_send('\n');
  knock();
  const knocking = setInterval(knock, KNOCK_INTERVAL);
  try {
    await answer(PATIENCE);
  } finally {
    clearInterval(knocking);
  }
}
