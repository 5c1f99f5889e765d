import type { V86 } from 'v86';
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
/** A guest that runs fewer instructions than this in an interval waits: its process that does not end is asleep, then. */
const ASLEEP_INSTRUCTIONS = 1_000_000;
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
  let before = -Infinity;
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
    const now = emulator.get_instruction_counter();
    if (now - before < ASLEEP_INSTRUCTIONS) return;
    if (Date.now() > end) throw new VmError('timeout', `the guest did not go to sleep within ${PATIENCE / 1000} s`);
    before = now;
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
