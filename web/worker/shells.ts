import { proxyMarker } from 'comlink';
import { concat } from '../../device/bytes.ts';
import type { GuestAgent, GuestProcess } from '../../harness/machine/agent/guest-agent.ts';
import { VmError } from '../../harness/machine/errors.ts';
import type { ShellId, ShellInfo, ShellsApi, TerminalSize } from '../protocol.ts';

/** Bytes of a shell's output that are kept for a terminal that comes later. */
export const KEPT_OUTPUT = 64 * 1024;
/** Bytes on their way to a terminal at once. */
const OUTPUT_WINDOW = 256 * 1024;
const SIGHUP = 1;

export interface ShellEvents {
  output(shell: ShellId, bytes: Uint8Array): Promise<void>;
  ended(shell: ShellId): void;
}

interface Shell {
  process: GuestProcess;
  output: Uint8Array[];
  kept: number;
}

/** What a snapshot says of a shell. */
export type SavedShell = ShellInfo;

/** bash where there is one, in UTF-8. */
const LOGIN = 'command -v bash >/dev/null && exec env LANG="${LANG:-C.UTF-8}" bash -l; exec sh -l';

/** An interactive shell, as the page's terminals have them. `cwd`: where it begins. */
export function spawnShell(
  agent: GuestAgent,
  cwd: string,
  { columns, rows }: TerminalSize,
  env: Record<string, string> = {},
): GuestProcess {
  return agent.spawn(['/bin/sh', '-c', LOGIN], {
    cwd,
    env: { TERM: 'xterm-256color', ...env },
    pty: { columns, rows },
  });
}

/** The interactive shells of one guest. They live in the guest: a restored one is found again by its number. */
export class Shells implements ShellsApi {
  readonly [proxyMarker] = true;
  readonly #cwd: string;
  readonly #agent: GuestAgent;
  readonly #events: ShellEvents;
  readonly #shells = new Map<ShellId, Shell>();

  /** `cwd`: where new shells begin. */
  constructor(agent: GuestAgent, cwd: string, events: ShellEvents) {
    this.#cwd = cwd;
    this.#agent = agent;
    this.#events = events;
  }

  /** `cwd`: below the one of others; `env`: variables of its own. */
  open(size: TerminalSize, { cwd = '', env }: { cwd?: string; env?: Record<string, string> } = {}): ShellInfo {
    const process = spawnShell(this.#agent, this.#cwd + cwd, size, env);
    this.#add(process, []);
    return { id: process.id, output: new Uint8Array(0) };
  }

  #add(process: GuestProcess, output: Uint8Array[]): void {
    const shell: Shell = { process, output, kept: output.reduce((sum, { length }) => sum + length, 0) };
    this.#shells.set(process.id, shell);
    let underWay = 0;
    const take = (bytes: Uint8Array) => {
      keep(shell, bytes);
      underWay += bytes.length;
      if (underWay > OUTPUT_WINDOW) process.onStdout = undefined;
      void this.#events.output(process.id, bytes).finally(() => {
        underWay -= bytes.length;
        if (underWay <= OUTPUT_WINDOW && !process.onStdout) process.onStdout = take;
      });
    };
    process.onStdout = take;
    const end = () => {
      if (this.#shells.get(process.id) !== shell) return;
      this.#shells.delete(process.id);
      this.#events.ended(process.id);
    };
    // When the guest has ended, its shells are seen as they were until it begins anew.
    process.exited.then(end, (error) => error instanceof VmError || end());
  }

  async type(id: ShellId, text: string): Promise<void> {
    // What a shell has not read when it ends, or its guest does, nobody reads.
    await this.#shells
      .get(id)
      ?.process.write(text)
      .catch(() => {});
  }

  resize(id: ShellId, { columns, rows }: TerminalSize): void {
    this.#shells.get(id)?.process.resize(columns, rows);
  }

  close(id: ShellId): void {
    this.#shells.get(id)?.process.kill(SIGHUP);
  }

  list(): SavedShell[] {
    return [...this.#shells.entries()].map(([id, { output }]) => ({ id, output: concat(output) }));
  }

  /** All of them, which go on in the guest and are nobody's here. */
  detach(): SavedShell[] {
    const saved = this.list();
    this.#shells.clear();
    return saved;
  }

  /** Goes on with the shells of a snapshot, in place of those there were. The agent has answered. */
  restore(saved: SavedShell[]): void {
    this.#shells.clear();
    for (const { id, output } of saved) this.#add(this.#agent.attach(id), [output]);
  }
}

function keep(shell: Shell, bytes: Uint8Array): void {
  shell.output.push(bytes);
  shell.kept += bytes.length;
  while (shell.kept - shell.output[0]!.length >= KEPT_OUTPUT) shell.kept -= shell.output.shift()!.length;
}
