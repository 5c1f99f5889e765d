import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { debianRoot } from './debian-root.ts';

/** Debian's packages, each unpacked with all that it needs. bookworm's own virtiofsd, which came with QEMU, dies of a FUSE_INTERRUPT. */
const ROOTS = {
  qemu: { codename: 'bookworm', packages: ['qemu-system-x86'] },
  virtiofsd: { codename: 'trixie', packages: ['virtiofsd'] },
};
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

type Roots = Record<keyof typeof ROOTS, string>;

/**
 * QEMU and virtiofsd, unpacked into the cache when they are first asked for.
 *
 * @throws Error that says what is missing, where they can't be had.
 */
export async function findQemu(): Promise<Roots> {
  return { qemu: await debianRoot('qemu', ROOTS.qemu), virtiofsd: await debianRoot('virtiofsd', ROOTS.virtiofsd) };
}

export interface QemuGuest {
  kernel: string;
  initrd: string;
  cmdline: string;
  processors: number;
  /** Of the directory `shared`, by tag `share`; its virtqueues have `queueSize` entries. */
  shared: string;
  queueSize: number;
}

/** A guest in QEMU's software emulation, a virtiofsd behind its share. */
export class Qemu {
  readonly #daemon: ChildProcess;
  readonly #machine: ChildProcess;
  readonly #directory: string;
  /** Of the machine. */
  readonly ended: Promise<unknown>;
  #isOver = false;

  private constructor(daemon: ChildProcess, machine: ChildProcess, directory: string) {
    this.#daemon = daemon;
    this.#machine = machine;
    this.#directory = directory;
    this.ended = once(machine, 'exit').finally(() => (this.#isOver = true));
  }

  static async start({ qemu, virtiofsd }: Roots, guest: QemuGuest): Promise<Qemu> {
    const directory = await mkdtemp(join(tmpdir(), 'qemu-'));
    const socket = join(directory, 'socket');
    // With the C library that it was built for.
    const daemon = spawn(
      join(virtiofsd, 'usr/lib64/ld-linux-x86-64.so.2'),
      [
        '--library-path',
        join(virtiofsd, LIBRARIES),
        join(virtiofsd, 'usr/libexec/virtiofsd'),
        `--socket-path=${socket}`,
        `--shared-dir=${guest.shared}`,
        '--sandbox=none',
        '--inode-file-handles=never',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    await new Promise<void>((resolve, reject) => {
      createInterface(daemon.stderr!).on('line', (line) => line.includes('Waiting for') && resolve());
      daemon.on('error', reject).on('exit', (code) => reject(new Error(`virtiofsd has ended with ${code}`)));
    });
    const machine = spawn(
      join(qemu, 'usr/libexec/qemu-system-i386'),
      [
        ['-L', join(qemu, 'usr/share/qemu'), '-L', join(qemu, 'usr/share/seabios')],
        [
          '-machine',
          'pc,memory-backend=ram',
          '-cpu',
          'n270',
          '-accel',
          'tcg,thread=multi',
          '-smp',
          `${guest.processors}`,
        ],
        ['-m', '512', '-object', 'memory-backend-memfd,id=ram,size=512M,share=on'],
        ['-chardev', `socket,id=share,path=${socket}`],
        ['-device', `vhost-user-fs-pci,chardev=share,tag=share,queue-size=${guest.queueSize}`],
        ['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', `console=ttyS0 ${guest.cmdline}`],
        ['-nographic', '-no-reboot', '-net', 'none'],
      ].flat(),
      {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: {
          ...process.env,
          LD_LIBRARY_PATH: [LIBRARIES, 'lib/x86_64-linux-gnu'].map((path) => join(qemu, path)).join(':'),
          QEMU_MODULE_DIR: join(qemu, LIBRARIES, 'qemu'),
        },
      },
    );
    return new Qemu(daemon, machine, directory);
  }

  /** What the guest's console says, line by line, until the machine ends. */
  async *lines(): AsyncGenerator<string> {
    for await (const line of createInterface(this.#machine.stdout!)) yield line.replaceAll('\r', '');
  }

  /** Lets the device answer late: it stands still and goes on, until `signal`. */
  async falter(milliseconds: number, signal: AbortSignal): Promise<void> {
    const wait = () => new Promise((resolve) => setTimeout(resolve, milliseconds));
    while (!signal.aborted && !this.#isOver) {
      this.#daemon.kill('SIGSTOP');
      await wait();
      this.#daemon.kill('SIGCONT');
      await wait();
    }
  }

  async stop(): Promise<void> {
    this.#daemon.kill('SIGCONT');
    this.#machine.kill('SIGKILL');
    this.#daemon.kill('SIGKILL');
    await this.ended;
    await rm(this.#directory, { recursive: true, force: true });
  }
}
