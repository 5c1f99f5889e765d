import { proxyMarker } from 'comlink';
import type { GuestAgent } from '../../harness/machine/agent/guest-agent.ts';
import type { LessonApi } from '../protocol/lesson.ts';
import type { ShellId, ShellInfo, TerminalSize } from '../protocol.ts';
import type { Folder } from './folder.ts';
import type { Shells } from './shells.ts';

/** In the environment of all that a lesson's shell starts. */
const VARIABLE = 'V86_VIRTIOFS_LESSON';
/** Milliseconds for the guest to end them. */
const PATIENCE = 60_000;

/** Also what a lesson may have left switched: see the one on suspend. */
const END_ALL = `
for file in $(grep -l '${VARIABLE}=' /proc/[0-9]*/environ 2>/dev/null); do
  process=\${file#/proc/}
  kill -9 "\${process%/environ}" 2>/dev/null
done
test ! -w /sys/power/pm_test || echo none > /sys/power/pm_test`;

/**
 * A lesson's place in one guest. Directories are marked where they are, so that those of lessons which ended with a reload, or came back
 * with a snapshot, are found: {@link tidy}.
 */
export class LessonSpace implements LessonApi {
  readonly [proxyMarker] = true;
  readonly #folder: Folder;
  readonly #shells: Shells;
  readonly #agent: GuestAgent;
  readonly #answers: () => boolean;
  /** Of the lesson under way. */
  #path: string | undefined;
  #shell: ShellId | undefined;

  /** `answers`: whether the guest does. */
  constructor(folder: Folder, shells: Shells, agent: GuestAgent, answers: () => boolean) {
    this.#folder = folder;
    this.#shells = shells;
    this.#agent = agent;
    this.#answers = answers;
  }

  async begin(name: string, files: Record<string, string>, others: string[]): Promise<string> {
    await this.end();
    const path = this.#folder.makeMarked(name, files, others);
    this.#path = path;
    // The guest may still know a directory of this name that has just been removed.
    await this.#folder.settled();
    return path;
  }

  async lacks(programs: string[]): Promise<string[]> {
    const names = programs.filter((program) => /^[\w.+-]+$/.test(program));
    const { stdout } = await this.#agent.exec(
      `for program in ${names.join(' ')}; do command -v "$program" > /dev/null || echo "$program"; done`,
      { timeoutMs: PATIENCE },
    );
    return names.filter((name) => new TextDecoder().decode(stdout).split('\n').includes(name));
  }

  shell(size: TerminalSize): ShellInfo {
    const known = this.#shells.list().find(({ id }) => id === this.#shell);
    if (known) return known;
    const shell = this.#shells.open(size, { cwd: this.#path ?? '', env: { [VARIABLE]: '1' } });
    this.#shell = shell.id;
    return shell;
  }

  async end(): Promise<void> {
    if (this.#shell !== undefined) this.#shells.close(this.#shell);
    this.#path = this.#shell = undefined;
    await this.#clear();
  }

  /** After a restore: ends what lessons have left in the snapshot, but for the one under way. */
  async tidy(): Promise<void> {
    if (this.#path === undefined || !this.#folder.stat(this.#path)) await this.end();
  }

  async #clear(): Promise<void> {
    const marked = this.#folder.marked();
    if (!marked.length) return;
    // What does not answer is ended by a reset or a restore, or by the next one to tidy.
    if (this.#answers()) await this.#agent.exec(END_ALL, { timeoutMs: PATIENCE }).catch(() => {});
    for (const path of marked) this.#folder.removeMarked(path);
  }
}
