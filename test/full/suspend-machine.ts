import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import type { V86, V86Options } from 'v86';
import type { FileSystem } from '../../device/fs/filesystem.ts';
import { attachVirtioFs, type VirtioFsDevice, type VirtioFsOptions } from '../../device/index.ts';
import { PMCSR, PMCSR_NO_SOFT_RESET } from '../../device/virtio/pci-config-space.ts';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { GuestAgent, type GuestProcess, uartChannel } from '../../harness/machine/agent/guest-agent.ts';
import { KERNEL_CMDLINE } from '../../harness/machine/boot/cmdline.ts';
import { directBoot } from '../../harness/machine/boot/direct-boot.ts';
import { createEmulator } from '../../harness/machine/emulator.ts';
import { compileV86 } from '../../harness/node/v86.ts';
import type { NamedKernel } from '../../harness/node/vm-options.ts';

export interface SuspendMachineOptions {
  /** Default: the driver that can suspend. */
  driver?: 'stock' | 'fast';
  /** Default: `stock`. `minimal` would leave a device alone that keeps its state in sleep, so this one does not say that it does. */
  kernel?: NamedKernel;
  share?: Partial<VirtioFsOptions<FileSystem>>;
  /** More words for the kernel's command line. */
  cmdline?: string;
  /** Through SeaBIOS, with ACPI, which it takes to be woken by an interrupt. */
  acpi?: boolean;
  /** The machine's disk. */
  disk?: ArrayBuffer;
  /** Runs before the guest does. */
  prepare?(device: VirtioFsDevice<FileSystem>): void;
}

/** What wakes a guest that sleeps for real. */
export type Waker = 'serial' | 'keyboard';

const ENTER_SCANCODES = [0x1c, 0x9c];
const MOUNT = '/mnt/share';
const BOOT_TIMEOUT = 300_000;
/** The kernel waits by loops that it counts: several times as long as it says, on a busy host. */
const SUSPEND_TIMEOUT = 800_000;

/** A guest that goes to sleep and wakes up, one share mounted where its commands run. */
export class SuspendMachine {
  readonly emulator: V86;
  readonly device: VirtioFsDevice<FileSystem>;
  readonly agent: GuestAgent;
  readonly disk: ArrayBuffer | undefined;
  /** What the first UART said. */
  console = '';

  /** How often the driver has reset the device. */
  resets = 0;
  #isStopped = false;

  private constructor(emulator: V86, device: VirtioFsDevice<FileSystem>, disk: ArrayBuffer | undefined) {
    this.emulator = emulator;
    this.device = device;
    this.disk = disk;
    device.transport.onTrace(({ type }) => {
      if (type === 'reset') this.resets++;
    });
    this.agent = new GuestAgent(uartChannel(emulator));
    emulator.add_listener('serial0-output-byte', (byte: number) => {
      this.console += String.fromCharCode(byte);
    });
  }

  /** Booted, nothing mounted. */
  static async boot({
    driver = 'fast',
    kernel = 'stock',
    share,
    cmdline = '',
    acpi = false,
    disk,
    prepare,
  }: SuspendMachineOptions = {}): Promise<SuspendMachine> {
    const image = await ensureGuestImage({ driver, kernel });
    const read = async (path: string) => ({ buffer: new Uint8Array(await readFile(path)).buffer });
    const words = `${KERNEL_CMDLINE} no_console_suspend ${cmdline}`;
    const options = {
      memory_size: 128 << 20,
      uart1: true,
      acpi,
      ...(disk && { hda: { buffer: disk } }),
      ...(acpi && {
        bios: await read(image.bios),
        vga_bios: await read(image.vgaBios),
        bzimage: await read(image.kernel),
        initrd: await read(image.initrd),
        cmdline: `${words} acpiphp.disable=1`,
      }),
    } as V86Options;
    let device: VirtioFsDevice<FileSystem> | undefined;
    const emulator = await createEmulator(options, await compileV86(), (made) => {
      device = attachVirtioFs(made, { tag: 'share', ...share });
    });
    if (kernel === 'minimal') device!.transport.configSpace[PMCSR]! &= ~PMCSR_NO_SOFT_RESET;
    prepare?.(device!);
    const machine = new SuspendMachine(emulator, device!, disk);
    if (!acpi)
      directBoot(
        emulator,
        { vmlinux: await readFile(image.vmlinux), initrd: await readFile(image.initrd) },
        { cmdline: words },
      );
    await emulator.run();
    await machine.agent.ready(BOOT_TIMEOUT);
    // v86's keyboard controller raises IRQ 1 while it is suspended.
    if (!acpi) await machine.sh('echo disabled > /sys/devices/platform/i8042/serio0/power/wakeup', '/');
    return machine;
  }

  static async mounted(options: SuspendMachineOptions = {}): Promise<SuspendMachine> {
    const machine = await SuspendMachine.boot(options);
    await machine.sh(`mkdir -p ${MOUNT} && mount -t virtiofs share ${MOUNT}`, '/');
    return machine;
  }

  /** Runs a command that has to succeed; returns its stdout. */
  async sh(command: string, cwd = MOUNT): Promise<string> {
    const { stdout, stderr, code } = await this.run(command, cwd);
    expect(code, `${command}\n${stdout}${stderr}\n${this.console.slice(-2000)}`).to.equal(0);
    return stdout;
  }

  async run(
    command: string,
    cwd = MOUNT,
    timeoutMs = 120_000,
  ): Promise<{ stdout: string; stderr: string; code: number }> {
    const { stdout, stderr, code } = await this.agent.exec(command, { cwd, timeoutMs });
    return { stdout: Buffer.from(stdout).toString(), stderr: Buffer.from(stderr).toString(), code };
  }

  /** Starts a command, and gives its output line by line. */
  spawn(command: string[]): Lines {
    return new Lines(this.agent.spawn(command, { cwd: MOUNT }));
  }

  /** Freezes tasks and devices as for suspend, waits `seconds` and wakes them; or says why not. */
  async suspend(seconds = 0): Promise<{ stderr: string; code: number }> {
    return this.run(
      `echo devices > /sys/power/pm_test && echo ${seconds} > /sys/module/suspend/parameters/pm_test_delay && echo freeze > /sys/power/state`,
      '/',
      SUSPEND_TIMEOUT,
    );
  }

  wake(waker: Waker): void {
    if (waker === 'serial') this.emulator.serial0_send('\n');
    else this.emulator.keyboard_send_scancodes(ENTER_SCANCODES);
  }

  /** Resolves when the driver has reset the device more than `count` times. */
  async untilReset(count: number): Promise<void> {
    await this.#until(() => this.resets > count);
  }

  /** Resolves when the guest has done next to nothing for a while. */
  async untilIdle(): Promise<void> {
    const IDLE = 1_000_000;
    for (
      let before = -Infinity, now: number;
      (now = this.emulator.get_instruction_counter()) - before > IDLE;
      before = now
    ) {
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  /** Resolves when the console has said `text` since `from`. */
  async says(text: string, from = 0): Promise<void> {
    await this.#until(() => this.console.includes(text, from));
  }

  /** Loads what drives the disk, as `sda`. */
  async loadDiskDrivers(): Promise<void> {
    // Decoding of IDE ports is off (PIIX IDETIM, 0x40) until somebody turns it on: a BIOS would have.
    await this.sh(
      String.raw`for device in /sys/bus/pci/devices/*; do
  read class < $device/class
  [ $class != 0x010180 ] || printf '\000\200\000\200' | dd of=$device/config bs=1 seek=64 2>/dev/null
done
while read module; do insmod $module; done < /lib/modules/disk
until [ -b /dev/sda ]; do sleep 0.1; done`,
      '/',
    );
  }

  /** Requests that wait for a lock. */
  get waiting(): number {
    return this.device.session.state().waiters.length;
  }

  async untilWaiting(count: number): Promise<void> {
    await this.#until(() => this.waiting === count);
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#isStopped) throw new Error('the machine was stopped');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.emulator.destroy();
  }
}

/** One process that has a lock, and one that waits for it. */
export async function contend(machine: SuspendMachine, kind: string): Promise<[holder: Lines, waiter: Lines]> {
  const holder = machine.spawn(['locker', kind, kind]);
  await holder.until('locked');
  const waiter = machine.spawn(['locker', kind, kind]);
  await machine.untilWaiting(1);
  return [holder, waiter];
}

/** A process in the guest, by the lines it writes. */
export class Lines {
  readonly process: GuestProcess;
  readonly lines: string[] = [];
  #rest = '';
  #changed: () => void = () => {};

  constructor(process: GuestProcess) {
    this.process = process;
    process.onStderr = () => {};
    process.onStdout = (data) => {
      const parts = (this.#rest + Buffer.from(data).toString()).split('\n');
      this.#rest = parts.pop()!;
      this.lines.push(...parts);
      this.#changed();
    };
    void process.exited.catch(() => {}).then(() => this.#changed());
  }

  /** Resolves when it has written this line; fails when it ends without. */
  async until(line: string): Promise<void> {
    let ended = false;
    void this.process.exited
      .catch(() => {})
      .then(() => {
        ended = true;
        this.#changed();
      });
    while (!this.lines.includes(line)) {
      if (ended) throw new Error(`it ended without ${JSON.stringify(line)}: ${this.lines.join(' | ')}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}
