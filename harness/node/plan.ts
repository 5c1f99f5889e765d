import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { V86Options } from 'v86';
import { kernelCmdline } from '../machine/boot/cmdline.ts';
import type { DirectBootImage } from '../machine/boot/direct-boot.ts';
import { besideCmdline, type RootPrograms, rootCmdline } from '../machine/boot/root.ts';
import { devicesOf, equipmentOf, type MachineConfig, type RootDevice } from '../machine/config.ts';
import { VmError } from '../machine/errors.ts';
import { readImageFile } from './boot-files.ts';
import { defaultDriver, defaultKernel, isNamed, resolveImage } from './image.ts';
import { ImageLeases } from './images/image-leases.ts';
import { imageIds, matchImages, withImage } from './images/shared-images.ts';
import { liveUuids, matchLive } from './live/live-share.ts';
import { MODULES_TAG, modulesShare } from './own-kernel.ts';
import { v86Version } from './v86.ts';
import {
  checkShares,
  DEFAULT_MEMORY,
  DEFAULT_VIDEO_MEMORY,
  type RootOptions,
  type ShareOptions,
  type VmOptions,
} from './vm-options.ts';

const MIB = 1024 * 1024;
const ROOT_TAG = 'root';
/** MiB: where v86 puts an initial RAM disk. */
const BIOS_INITRD = 64;
/** Part of the boot cache's key: raised when a machine made the old way must not be used any more. */
const CACHE_VERSION = 1;

/** A machine to be made: what it is, and what it boots from. */
export interface Plan {
  options: VmOptions;
  /** Its shares included. */
  config: MachineConfig;
  shares: ShareOptions[];
  /** What the shares are on. */
  images: ImageLeases;
  /** What a booted machine without shares depends on. */
  origin: unknown;
  /** Of v86's options, what the configuration does not say: enough for a machine that gets its RAM from a snapshot. */
  v86: V86Options;
  /** The kernel's command line. */
  cmdline: string;
  /** What a reset boots, where that is not its BIOS's. It is read anew each time. */
  rebootKernel: (() => DirectBootImage) | undefined;
  /** The last of the shares is the guest's root filesystem, which is given these to boot from. */
  rootPrograms: RootPrograms | undefined;
  /** Reads what a cold boot takes: a kernel, or what the BIOS finds it by. */
  coldBoot(): Promise<{ kernel?: DirectBootImage; v86?: V86Options }>;
}

/**
 * `images`: holds those that its shares are on, for as long as the plan is used.
 *
 * @throws VmError for options that don't fit together, or files that are missing.
 */
export async function makePlan(options: VmOptions, images = new ImageLeases()): Promise<Plan> {
  const root = rootOptions(options.root);
  const rootDevice = root && { tag: root.tag, init: root.init };
  const given = [...(options.shares ?? []), ...(root ? [shareOf(root)] : [])];
  const {
    memory = DEFAULT_MEMORY,
    videoMemory = DEFAULT_VIDEO_MEMORY,
    ninep = false,
    network = 'ne2k',
    acpi = false,
  } = options;
  const kernel = options.kernel ?? defaultKernel();
  const driver = options.driver ?? defaultDriver(kernel);
  const wanted = options.bootMethod ?? (acpi || options.bios !== undefined ? 'bios' : undefined);
  if (wanted === 'direct' && options.bios !== undefined)
    throw new VmError('configuration', 'the boot method `direct` takes no BIOS: leave out one of them');
  if (wanted === 'direct' && acpi)
    throw new VmError('configuration', 'ACPI comes from the BIOS: leave out the boot method `direct`');
  if (options.modules !== undefined && !isNamed(kernel) && !given.some(({ tag }) => tag === MODULES_TAG))
    given.splice(options.shares?.length ?? 0, 0, await modulesShare(options.modules, kernel));
  checkShares(given);
  const shares: ShareOptions[] = [];
  for (const share of given) shares.push(await withImage(share, images, options));
  const image = await resolveImage({ ...options, driver, kernel, bootMethod: wanted, hasRoot: root !== undefined });
  const { vmlinux, initrd } = image;
  const bootMethod = wanted ?? (vmlinux ? 'direct' : 'bios');
  const words = image.startsAgent ? besideCmdline(options.cmdline) : options.cmdline;
  // The kernel's driver for hotplug takes v86's description of slots amiss.
  const cmdline = kernelCmdline(
    [acpi && 'acpiphp.disable=1', words, rootDevice && rootCmdline(rootDevice)].filter(Boolean).join(' '),
  );
  const bare: MachineConfig = {
    emulator: await v86Version(),
    image: image.id,
    memory,
    devices: devicesOf({
      acpi,
      isMinimalKernel: kernel === 'minimal',
      hasFastDriver: driver === 'fast',
      ninep,
      network,
      videoMemory,
      tags: [],
      root: rootDevice,
    }),
  };
  const v86: V86Options = {
    ...(bootMethod === 'bios' && {
      bios: await fileOption(image.bios!),
      ...(image.vgaBios && { vga_bios: await fileOption(image.vgaBios) }),
    }),
    ...options.v86,
  };

  return {
    options,
    shares,
    images,
    config: withShares(bare, shares),
    origin: {
      config: bare,
      bootMethod,
      cmdline,
      bios: bootMethod === 'bios' ? options.bios && resolve(options.bios) : undefined,
      version: CACHE_VERSION,
    },
    v86,
    cmdline,
    rebootKernel:
      bootMethod === 'direct'
        ? () => ({ vmlinux: readFileSync(vmlinux!), initrd: initrd === undefined ? undefined : readFileSync(initrd) })
        : undefined,
    rootPrograms: root && { init: await readImageFile(image.init!), agent: await readImageFile(image.agent!) },
    coldBoot: async () => {
      const ramDisk = initrd === undefined ? undefined : await readImageFile(initrd);
      if (bootMethod === 'direct') return { kernel: { vmlinux: await readImageFile(vmlinux!), initrd: ramDisk } };
      const bzimage = await fileOption(image.kernel);
      if (!ramDisk) return { v86: { bzimage, cmdline } };
      checkRoom(ramDisk, memory);
      return { v86: { bzimage, initrd: { buffer: ramDisk.buffer }, cmdline } };
    },
  };
}

function rootOptions(root: VmOptions['root']): (RootOptions & RootDevice) | undefined {
  if (root === undefined) return undefined;
  return { tag: ROOT_TAG, ...(typeof root === 'string' ? { source: root } : root) };
}

function hasContent(root: VmOptions['root']): boolean {
  return typeof root === 'string' || (root?.source ?? root?.filesystem) !== undefined;
}

/** Nobody else changes it: the guest may remember all of it. */
function shareOf({ init: _, ...root }: RootOptions & RootDevice): ShareOptions {
  return { cache: 'always', ...root };
}

/** v86 lets its BIOS find the initial RAM disk at 64 MiB. @throws VmError `configuration`. */
function checkRoom(initrd: Uint8Array, memory: number): void {
  const least = Math.ceil(initrd.length / MIB) + BIOS_INITRD;
  if (memory < least)
    throw new VmError(
      'configuration',
      `${memory} MiB of memory are not enough to boot through a BIOS, which puts the initial RAM disk at ${BIOS_INITRD} MiB: give at least ${least}, or boot direct`,
    );
}

/** The configuration of a machine like this one, with these shares. */
export function withShares(config: MachineConfig, shares: readonly ShareOptions[]): MachineConfig {
  const tags = shares.map(({ tag }) => tag);
  return {
    ...config,
    devices: devicesOf({ ...equipmentOf(config), tags, live: liveUuids(shares), images: imageIds(shares) }),
  };
}

/** `options`, and where they are silent, what a machine of this configuration was made with. `leases` as `images` of {@link makePlan}. */
export async function optionsFor(config: MachineConfig, options: VmOptions, leases: ImageLeases): Promise<VmOptions> {
  const { acpi, isMinimalKernel, hasFastDriver, ninep, network, videoMemory, tags, live, images, root } =
    equipmentOf(config);
  // A kernel of the caller's own has a driver of its own.
  const canBeFast = options.kernel === undefined || isNamed(options.kernel);
  const withModules = options.modules !== undefined && options.kernel !== undefined && live.has(MODULES_TAG);
  const own = withModules ? [(await modulesShare(options.modules!, options.kernel!)).source!] : [];
  const directories = options.shares ? undefined : matchLive(live, [...(options.live ?? []), ...own]);
  // What the caller gives is not looked for.
  const wanted = new Map(
    [...images].filter(([tag]) => (tag === root?.tag ? !hasContent(options.root) : options.shares === undefined)),
  );
  const filesystems = await matchImages(wanted, leases, options);
  const rootFiles = root && filesystems.get(root.tag);
  return {
    ...options,
    memory: options.memory ?? config.memory,
    videoMemory: options.videoMemory ?? videoMemory,
    acpi: options.acpi ?? acpi,
    kernel: options.kernel ?? (isMinimalKernel ? 'minimal' : 'stock'),
    driver: options.driver ?? (hasFastDriver && canBeFast ? 'fast' : 'stock'),
    ninep: options.ninep ?? ninep,
    network: options.network ?? network,
    root: (options.root ?? root) && {
      ...root,
      ...(rootFiles && { filesystem: rootFiles }),
      ...(typeof options.root === 'string' ? { source: options.root } : options.root),
    },
    shares:
      options.shares ??
      tags
        .filter((tag) => tag !== root?.tag)
        .map((tag) => ({
          tag,
          source: directories?.get(tag),
          live: live.has(tag),
          filesystem: filesystems.get(tag),
          ...(tag === MODULES_TAG && { readOnly: true }),
        })),
  };
}

async function fileOption(path: string): Promise<{ buffer: ArrayBuffer }> {
  const { buffer } = await readImageFile(path);
  return { buffer };
}
