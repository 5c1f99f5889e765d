import type { V86, V86Options } from 'v86';
import { V86Machine } from '../../device/v86/adapter.ts';
import { CountedClock } from '../../device/v86/counted-clock.ts';
import { type AgentChannel, uartChannel } from './agent/channel.ts';
import { GuestAgent } from './agent/guest-agent.ts';
import type { MachineConfig } from './config.ts';
import { v86OptionsOf } from './config.ts';
import { ConsoleLog } from './console-log.ts';
import { createEmulator } from './emulator.ts';
import { VmError } from './errors.ts';
import { GuestLife, type LifeOptions } from './guest-life.ts';
import type { RenewalOptions } from './renewal.ts';
import type { Share } from './share.ts';

/** An emulator, and all that is plugged into it. */
export interface MachineParts<S extends Share = Share> {
  readonly config: MachineConfig;
  readonly emulator: V86;
  readonly shares: readonly S[];
  /** The last lines of the guest's console. */
  readonly console: ConsoleLog;
  /** Runs commands. */
  readonly agent: GuestAgent;
  /** Notices when the guest ends, and greets it when it comes back. */
  readonly life: GuestLife;
}

export interface AssemblyOptions<S extends Share> extends LifeOptions {
  config: MachineConfig;
  /** v86's module. */
  wasm: WebAssembly.Module;
  /** Makes the shares, in the order of the configuration. */
  makeShares(emulator: V86): S[];
  /** One that a machine like this one has left: see `Machine.vacate`. Default: a new one. */
  emulator?: V86;
  /** More of v86's options, such as what it boots from. */
  v86?: V86Options;
  /** A machine that has booted without shares, which they are plugged into. */
  base?: { bytes: Uint8Array; console: string[] };
  /** Called with each line that the guest's console finished. */
  onConsole?: (line: string) => void;
}

/** A machine that does not run yet; in an emulator that had another, a snapshot has to be put into it. @throws MachineError, and what `makeShares` throws. */
export async function assemble<S extends Share>({
  config,
  wasm,
  makeShares,
  emulator: left,
  v86,
  base,
  onConsole,
  deterministic,
  clock = deterministic === undefined ? 'host' : 'keep',
  ...renewal
}: AssemblyOptions<S>): Promise<MachineParts<S>> {
  const counted = countedClock(deterministic, clock);
  const console = new ConsoleLog({ lines: base?.console, onLine: onConsole });
  let shares: S[] = [];
  const attach = (emulator: V86, machine: V86Machine) => {
    const isKept = clock === 'keep';
    machine.keepsRtc = isKept;
    if (machine.clock) machine.clock.standsWhilePaused = isKept;
    emulator.add_listener('serial0-output-byte', (byte) => console.write(byte));
    shares = makeShares(emulator);
  };
  if (left) attach(left, V86Machine.of(left));
  const emulator =
    left ??
    (await createEmulator(
      { ...v86OptionsOf(config), ...v86 },
      wasm,
      (made, machine) => {
        if (base) machine.goOnFrom(base.bytes);
        attach(made, machine);
      },
      counted,
    ));
  const channel = uartChannel(emulator, counted);
  const agent = new GuestAgent(counted ? waking(channel, counted) : channel, counted);
  if (counted) counted.mayRun = () => agent.isAwaited;
  const life = new GuestLife({ emulator, agent, console }, { ...renewal, clock });
  return { config, emulator, shares, console, agent, life };
}

function countedClock(seed: number | undefined, clock: RenewalOptions['clock']): CountedClock | undefined {
  if (seed === undefined) return undefined;
  if (clock === 'host')
    throw new VmError(
      'configuration',
      "a deterministic machine can't go by the host's clock: leave out `clock`, or give a function",
    );
  try {
    return new CountedClock(seed);
  } catch (error) {
    throw new VmError('configuration', (error as Error).message, { cause: error });
  }
}

/** Time stands until something is asked of the guest. */
function waking(channel: AgentChannel, clock: CountedClock): AgentChannel {
  return {
    ...channel,
    write: (bytes) => {
      channel.write(bytes);
      clock.wake();
    },
  };
}
