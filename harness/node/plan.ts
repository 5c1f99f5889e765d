import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { V86, V86Options } from 'v86';
import { kernelCmdline } from '../machine/boot/cmdline.ts';
import { directBoot, directReboot } from '../machine/boot/direct-boot.ts';
import { VmError } from '../machine/errors.ts';
import {
  ACPI,
  MINIMAL_KERNEL,
  NINEP,
  namedVideoMemory,
  SUSPEND_DRIVER,
  VIRTIO_FS,
  VIRTIO_NETWORK,
  videoMemoryOf,
} from '../machine/machine-parts.ts';
import { defaultKernel, readImageFile, resolveImage } from './image.ts';
import type { MachineConfig } from './stores/snapshot-file.ts';
import { v86Version } from './v86.ts';
import { checkShares, DEFAULT_MEMORY, DEFAULT_VIDEO_MEMORY, type ShareOptions, type VmOptions } from './vm-options.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** MiB: where v86 puts an initial RAM disk. */
const BIOS_INITRD = 64;
/** Part of the boot cache's key: raised when a machine made the old way must not be used any more. */
const CACHE_VERSION = 1;

/** A machine to be made: its options, checked, with defaults filled in. */
export interface Plan {
  options: VmOptions;
  shares: ShareOptions[];
  /** Without the shares. */
  config: MachineConfig;
  /** What a booted machine without shares depends on. */
  origin: unknown;
  /** Enough for a machine that gets its RAM from a snapshot. */
  emulatorOptions: V86Options;
  /** Lets an emulator that has loaded, and goes on with a guest that another one booted, boot when that guest reboots. */
  prepareReboot(emulator: V86): void;
  /** What it takes to boot one. */
  bootRoad(): Promise<BootRoad>;
}

export interface BootRoad {
  emulatorOptions: V86Options;
  /** Brings the kernel into an emulator that has loaded and not run yet. */
  load(emulator: V86): void;
}

/** Throws {@link VmError} for options that don't fit together, or files that are missing. */
export async function makePlan(options: VmOptions): Promise<Plan> {
  const {
    shares = [],
    memory = DEFAULT_MEMORY,
    videoMemory = DEFAULT_VIDEO_MEMORY,
    ninep = false,
    network = 'ne2k',
    acpi = false,
  } = options;
  checkShares(shares);
  const driver = options.driver ?? 'stock';
  const kernel = options.kernel ?? (driver === 'stock' ? defaultKernel() : 'stock');
  const wanted = options.bootMethod ?? (acpi || options.bios !== undefined ? 'bios' : undefined);
  if (wanted === 'direct' && options.bios !== undefined)
    throw new VmError('configuration', 'the boot method `direct` takes no BIOS: leave out one of them');
  if (wanted === 'direct' && acpi)
    throw new VmError('configuration', 'ACPI comes from the BIOS: leave out the boot method `direct`');
  const image = await resolveImage({ ...options, driver, kernel, bootMethod: wanted });
  const { vmlinux } = image;
  const bootMethod = wanted ?? (vmlinux ? 'direct' : 'bios');
  // The kernel's driver for hotplug takes v86's description of slots amiss.
  const cmdline = kernelCmdline([acpi && 'acpiphp.disable=1', options.cmdline].filter(Boolean).join(' '));
  const config: MachineConfig = {
    emulator: await v86Version(),
    image: image.id,
    memory,
    devices: [
      kernel === 'minimal' && MINIMAL_KERNEL,
      driver === 'suspend' && SUSPEND_DRIVER,
      acpi && ACPI,
      ninep && NINEP,
      network === 'virtio' && VIRTIO_NETWORK,
      namedVideoMemory(videoMemory),
    ].filter((device) => typeof device === 'string'),
  };
  const emulatorOptions: V86Options = {
    memory_size: memory * MIB,
    vga_memory_size: videoMemory * KIB,
    ...(bootMethod === 'bios' && {
      bios: await fileOption(image.bios!),
      ...(image.vgaBios && { vga_bios: await fileOption(image.vgaBios) }),
    }),
    ...(ninep && { filesystem: {} }),
    net_device: { type: network },
    uart1: true,
    acpi,
    ...options.v86,
  } as V86Options;

  return {
    options,
    shares,
    config,
    origin: {
      config,
      bootMethod,
      cmdline,
      bios: bootMethod === 'bios' ? options.bios && resolve(options.bios) : undefined,
      version: CACHE_VERSION,
    },
    emulatorOptions,
    prepareReboot: (emulator) => {
      if (bootMethod === 'direct')
        directReboot(emulator, () => ({ vmlinux: readFileSync(vmlinux!), initrd: readFileSync(image.initrd) }), {
          cmdline,
        });
    },
    bootRoad: async () => {
      if (bootMethod === 'bios') {
        await checkRoom(image.initrd, memory);
        const [bzimage, initrd] = [await fileOption(image.kernel), await fileOption(image.initrd)];
        return { emulatorOptions: { ...emulatorOptions, bzimage, initrd, cmdline }, load: () => {} };
      }
      const files = { vmlinux: await readImageFile(vmlinux!), initrd: await readImageFile(image.initrd) };
      return { emulatorOptions, load: (emulator) => directBoot(emulator, files, { cmdline }) };
    },
  };
}

/** v86 lets its BIOS find the initial RAM disk at 64 MiB. @throws VmError `configuration`. */
async function checkRoom(initrd: string, memory: number): Promise<void> {
  const least = Math.ceil((await readImageFile(initrd)).length / MIB) + BIOS_INITRD;
  if (memory < least)
    throw new VmError(
      'configuration',
      `${memory} MiB of memory are too few to boot through a BIOS, which has the initial RAM disk at ${BIOS_INITRD} MiB: give at least ${least}, or boot direct`,
    );
}

/** The configuration of a machine with these shares. */
export function withShares(config: MachineConfig, shares: ShareOptions[]): MachineConfig {
  return { ...config, devices: [...config.devices, ...shares.map(({ tag }) => VIRTIO_FS + tag)] };
}

/** `options`, and where they are silent, what a machine of this configuration was made with. */
export function optionsFor(config: MachineConfig, options: VmOptions): VmOptions {
  const tags = config.devices
    .filter((device) => device.startsWith(VIRTIO_FS))
    .map((device) => device.slice(VIRTIO_FS.length));
  return {
    ...options,
    memory: options.memory ?? config.memory,
    videoMemory: options.videoMemory ?? videoMemoryOf(config.devices),
    acpi: options.acpi ?? config.devices.includes(ACPI),
    kernel: options.kernel ?? (config.devices.includes(MINIMAL_KERNEL) ? 'minimal' : 'stock'),
    driver: options.driver ?? (config.devices.includes(SUSPEND_DRIVER) ? 'suspend' : undefined),
    ninep: options.ninep ?? config.devices.includes(NINEP),
    network: options.network ?? (config.devices.includes(VIRTIO_NETWORK) ? 'virtio' : 'ne2k'),
    shares: options.shares ?? tags.map((tag) => ({ tag })),
  };
}

async function fileOption(path: string): Promise<{ buffer: ArrayBuffer }> {
  const { buffer } = await readImageFile(path);
  return { buffer };
}
