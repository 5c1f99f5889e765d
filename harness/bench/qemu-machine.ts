import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { copyOf } from '../../device/bytes.ts';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { findQemu } from '../../test/support/qemu.ts';
import { GuestAgent } from '../machine/agent/guest-agent.ts';
import { kernelCmdline } from '../machine/boot/cmdline.ts';

const LIBRARIES = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'];
const CLUSTER_BITS = 16;
const BOOT_PATIENCE = 120_000;

/**
 * Milliseconds without an answer after which, again and again, one more byte is sent, which the agent ignores: about one guest in a hundred gets
 * no interrupt for its serial port after QEMU's `loadvm`.
 */
const NUDGE_AFTER = 200;

/** A guest in QEMU's software emulation, of the kernel and agent that v86's guests have, with a disk for its snapshots. */
export class QemuMachine {
  readonly agent: GuestAgent;
  readonly #machine: ChildProcess;
  readonly #monitor: Socket;
  readonly #directory: string;

  private constructor(machine: ChildProcess, monitor: Socket, agent: Socket, directory: string) {
    this.#machine = machine;
    this.#monitor = monitor;
    this.#directory = directory;
    let nudge: ReturnType<typeof setInterval> | undefined;
    for (const event of ['data', 'close']) agent.on(event, () => clearInterval(nudge));
    this.agent = new GuestAgent({
      write: (bytes) => {
        agent.write(copyOf(bytes));
        clearInterval(nudge);
        nudge = setInterval(() => agent.write(Buffer.alloc(1)), NUDGE_AFTER);
      },
      onData: (callback) => agent.on('data', (bytes: Buffer) => callback(bytes)),
      flush: () => {},
    });
  }

  /** Booted, with an agent that answers. @throws Error where QEMU can't be had. */
  static async boot(memory: number): Promise<QemuMachine> {
    const { qemu } = await findQemu();
    const { kernel, initrd } = await ensureGuestImage();
    const directory = await mkdtemp(join(tmpdir(), 'qemu-'));
    const disk = join(directory, 'disk');
    await writeFile(disk, emptyDisk());
    const [monitor, agent] = [listen(join(directory, 'monitor')), listen(join(directory, 'agent'))];
    const machine = spawn(
      join(qemu, 'usr/libexec/qemu-system-i386'),
      [
        ...['-L', join(qemu, 'usr/share/qemu'), '-L', join(qemu, 'usr/share/seabios')],
        ...['-machine', 'pc', '-accel', 'tcg', '-m', `${memory}`, '-display', 'none', '-net', 'none'],
        ...['-kernel', kernel, '-initrd', initrd, '-append', kernelCmdline()],
        ...['-drive', `file=${disk},format=qcow2,if=ide`],
        ...['-serial', 'null', '-serial', `unix:${join(directory, 'agent')}`],
        ...['-monitor', `unix:${join(directory, 'monitor')}`],
      ],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: {
          ...process.env,
          LD_LIBRARY_PATH: LIBRARIES.map((path) => join(qemu, path)).join(':'),
          QEMU_MODULE_DIR: join(qemu, LIBRARIES[0]!, 'qemu'),
        },
      },
    );
    const made = new QemuMachine(machine, await monitor, await agent, directory);
    await made.#prompt();
    await made.agent.ready(BOOT_PATIENCE);
    return made;
  }

  /** Gives a command to its monitor, as `savevm NAME`. Returns when that is done. @throws Error with what it says. */
  async command(words: string): Promise<void> {
    const answer = this.#prompt();
    this.#monitor.write(`${words}\n`);
    const said = await answer;
    if (/Error/.test(said)) throw new Error(`QEMU does not ${words}: ${said}`);
  }

  /** What the monitor says until it asks for a command. */
  #prompt(): Promise<string> {
    let said = '';
    return new Promise((resolve) => {
      const hear = (bytes: Buffer) => {
        said += bytes.toString('latin1');
        // It echoes what is typed, and comes back with its prompt on a line of its own.
        if (!/\n\(qemu\) $/.test(said)) return;
        this.#monitor.off('data', hear);
        resolve(said);
      };
      this.#monitor.on('data', hear);
    });
  }

  async stop(): Promise<void> {
    const ended = once(this.#machine, 'exit');
    this.#machine.kill('SIGKILL');
    await ended;
    this.#monitor.destroy();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** The one that connects to a socket. */
async function listen(path: string): Promise<Socket> {
  const server = createServer().listen(path);
  const [socket] = (await once(server, 'connection')) as [Socket];
  server.close();
  socket.on('error', () => {});
  return socket;
}

/**
 * A disk with nothing on it, in QEMU's format (docs/interop/qcow2.txt of QEMU, version 2): header, refcount table, refcount block and L1 table, a cluster
 * each. Only such disks can have snapshots.
 */
function emptyDisk(): Buffer {
  const cluster = 1 << CLUSTER_BITS;
  const disk = Buffer.alloc(4 * cluster);
  disk.write('QFI\xfb', 'latin1');
  disk.writeUInt32BE(2, 4);
  disk.writeUInt32BE(CLUSTER_BITS, 20);
  disk.writeBigUInt64BE(BigInt(cluster), 24);
  disk.writeUInt32BE(1, 36);
  disk.writeBigUInt64BE(BigInt(3 * cluster), 40);
  disk.writeBigUInt64BE(BigInt(cluster), 48);
  disk.writeUInt32BE(1, 56);
  disk.writeBigUInt64BE(BigInt(2 * cluster), cluster);
  for (let n = 0; n < 4; n++) disk.writeUInt16BE(1, 2 * cluster + 2 * n);
  return disk;
}
