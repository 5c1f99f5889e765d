import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** Runs a command on a terminal of its own; fd 3 takes lines of rows and columns. Ends with the command's code, or 128 and its signal. */
const HELPER = `
import fcntl, os, pty, select, struct, sys, termios
def resize(fd, rows, columns): fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
pid, master = pty.fork()
if pid == 0:
    os.close(3)
    resize(0, 24, 80)
    os.execvp(sys.argv[1], sys.argv[1:])
sources = [0, 3, master]
while master in sources:
    for fd in select.select(sources, [], [])[0]:
        try: data = os.read(fd, 65536)
        except OSError: data = b''
        if not data: sources.remove(fd)
        elif fd == master: os.write(1, data)
        elif fd == 0: os.write(master, data)
        else: resize(master, *map(int, data.split()))
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(code if code >= 0 else 128 - code)
`;

/** A command on a terminal of 24 rows and 80 columns. */
export class Terminal {
  /** All that it has shown. */
  said = '';
  readonly child: ChildProcess;
  #told = () => {};
  #seen = 0;

  constructor(command: string[], env: NodeJS.ProcessEnv = process.env) {
    this.child = spawn('python3', ['-c', HELPER, ...command], { stdio: ['pipe', 'pipe', 'inherit', 'pipe'], env });
    this.child.stdin!.on('error', () => {});
    this.child.stdout!.on('data', (data: Buffer) => {
      this.said += data.toString();
      this.#told();
    });
  }

  type(text: string): void {
    this.child.stdin!.write(text);
  }

  resize(rows: number, columns: number): void {
    (this.child.stdio[3] as Writable).write(`${rows} ${columns}\n`);
  }

  /** Settles when it has shown that after all that was waited for before. @throws Error when it ends without. */
  says(pattern: RegExp): Promise<void> {
    return new Promise((resolve, reject) => {
      const from = this.#seen;
      this.#told = () => {
        const found = pattern.exec(this.said.slice(from));
        if (found) {
          this.#seen = from + found.index + found[0].length;
          resolve();
        } else if (this.child.exitCode !== null || this.child.signalCode !== null)
          reject(new Error(`it has ended without ${pattern}: ${this.said.slice(from)}`));
      };
      this.child.once('close', () => this.#told());
      this.#told();
    });
  }

  /** Its exit code. */
  async ended(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'close');
    return this.child.exitCode;
  }

  /** Its terminal is gone. */
  hangUp(): void {
    this.child.kill('SIGKILL');
  }
}
