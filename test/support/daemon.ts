import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Cli, CliProcess, CliResult } from './cli.ts';

/** What may be said on a loaded machine, so that a test has to ask again. */
const LATER = /the daemon does not run this: (all of its guests are taken|it does not answer|one of its guests)/;

/** `v86-virtiofs daemon`, and what it runs. */
export class TestDaemon {
  readonly env: { V86_VIRTIOFS_DAEMON: string };
  readonly process: CliProcess;
  readonly #cli: Cli;
  /** Commands that it has run. */
  #served = 0;

  private constructor(cli: Cli, socket: string, args: string[]) {
    this.#cli = cli;
    this.env = { V86_VIRTIOFS_DAEMON: socket };
    this.process = cli.start(['daemon', ...args], { env: this.env });
  }

  /** `directory` is the test's; a place for the socket is made in it. Settles when a guest is ready. */
  static async begin(cli: Cli, directory: string, ...args: string[]): Promise<TestDaemon> {
    const place = join(directory, `place-${Math.random().toString(36).slice(2)}`);
    mkdirSync(place, { mode: 0o700 });
    const daemon = new TestDaemon(cli, join(place, 'd.sock'), args);
    await daemon.process.says(/ready: \d+ guests? waits? for/);
    return daemon;
  }

  get socket(): string {
    return this.env.V86_VIRTIOFS_DAEMON;
  }

  async stop(): Promise<void> {
    expect((await this.#cli.run(['daemon', '--stop'], { env: this.env })).code).to.equal(0);
    await this.hasEnded();
  }

  /** When it has, what it has left is judged. Returns what it has said. */
  async hasEnded(): Promise<string> {
    const { code, stderr } = await this.process.ended;
    expect(code, stderr).to.equal(0);
    expect(Number(/Commands run: (\d+)/.exec(stderr)![1]), 'commands it has run').to.be.at.least(this.#served);
    expect(existsSync(this.socket)).to.equal(false);
    return stderr;
  }

  /** By the daemon. */
  async run(args: string[], input?: string): Promise<CliResult> {
    for (;;) {
      const result = await this.#cli.run(['run', '-v', ...args], { env: this.env, input });
      if (LATER.test(result.stderr)) continue;
      expect(result.stderr).not.to.match(/the daemon does not run this/);
      this.#served++;
      return result;
    }
  }

  /** One by the daemon, which says "runs" on stderr; settles when it has. */
  async start(args: string[]): Promise<CliProcess> {
    for (;;) {
      const one = this.#cli.start(['run', '-v', ...args], { env: this.env });
      const [said] = await one.says(/runs\n|the daemon does not run this.*/);
      if (said === 'runs\n') {
        this.#served++;
        return one;
      }
      process.kill(clientOf(one), 'SIGKILL');
      await one.ended;
    }
  }
}

/** The process behind `timeout`. */
export function clientOf({ child }: CliProcess): number {
  return childrenOf(child.pid!)[0]!;
}

export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}
