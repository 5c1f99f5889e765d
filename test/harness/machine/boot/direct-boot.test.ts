import { expect } from 'chai';
import type { V86 } from 'v86';
import { attachVirtioFs, MachineError } from '../../../../device/index.ts';
import { V86Machine } from '../../../../device/v86/adapter.ts';
import { DirectBootError, directBoot, directReboot } from '../../../../harness/machine/boot/direct-boot.ts';
import { NOTHING_TO_BOOT } from '../../../../harness/machine/boot/reset-vector.ts';
import { type BareMachine, bareMachine } from '../../../support/bare-machine.ts';

const MIB = 1024 * 1024;
const KERNEL_ADDRESS = MIB;
const VIRTUAL_OFFSET = 0xc0000000;
/** Of the test kernel's program in the file. */
const CODE_OFFSET = 0x54;

interface ElfOptions {
  entry?: number;
  paddr?: number;
  memsz?: number;
  filesz?: number;
}

/** A kernel of one segment, linked at 3 GiB and loaded at 1 MiB as Linux would be. */
function elf(
  code: number[],
  { entry = KERNEL_ADDRESS, paddr = KERNEL_ADDRESS, filesz = code.length, memsz = 4096 }: ElfOptions = {},
): Uint8Array {
  const file = new Uint8Array(CODE_OFFSET + code.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  for (const [offset, value] of [
    [16, 2],
    [18, 3],
    [40, 52],
    [42, 32],
    [44, 1],
  ])
    view.setUint16(offset!, value!, true);
  for (const [offset, value] of [
    [20, 1],
    [24, entry],
    [28, 52],
  ])
    view.setUint32(offset!, value!, true);
  [1, CODE_OFFSET, paddr + VIRTUAL_OFFSET, paddr, filesz, memsz].forEach((value, index) =>
    view.setUint32(52 + 4 * index, value, true),
  );
  file.set(code, CODE_OFFSET);
  return file;
}

const patched = (offset: number, ...bytes: number[]) => {
  const file = elf(ANNOUNCE);
  file.set(bytes, offset);
  return file;
};

const u32 = (value: number) => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];
const put = (...code: number[]) => [...code, 0xee]; // out dx, al

/** Writes the first letters of its command line to COM1, and stops. */
const ANNOUNCE = [
  0xba,
  ...u32(0x3f8), // mov edx, COM1
  0x8b,
  0xb6,
  ...u32(0x228), // mov esi, [esi + cmd_line_ptr]
  0xac,
  0x84,
  0xc0,
  0x74,
  0x03,
  0xee,
  0xeb,
  0xf8, // next: lodsb; test al, al; jz end; out dx, al; jmp next
  0xf4, // hlt
];

/** Writes what the boot protocol promises about the processor to COM1, as bytes, and stops. */
const REPORT = [
  0xba,
  ...u32(0x3f8),
  ...put(0x8c, 0xc8), // mov eax, cs
  ...[0xd8, 0xc0, 0xd0].flatMap((modrm) => put(0x8c, modrm)), // ds, es, ss
  ...put(0x0f, 0x20, 0xc0, 0x24, 0x01), // mov eax, cr0; and al, 1
  ...put(0x0f, 0x20, 0xc0, 0xc1, 0xe8, 0x1f), // mov eax, cr0; shr eax, 31
  ...put(0x9c, 0x58, 0xc1, 0xe8, 0x09, 0x24, 0x01), // pushf; pop eax; IF
  ...put(0x89, 0xd8, 0x09, 0xe8, 0x09, 0xf8), // mov eax, ebx; or eax, ebp; or eax, edi
  ...put(0x8a, 0x86, ...u32(0x1fe)), // mov al, [esi + boot_flag]
  0xf4,
];

/**
 * Writes a variable to COM1, changes it, and resets the machine by the keyboard controller. Not too
 * soon: v86 counts instructions from the reset on, and returns to its host after 100,000 of them.
 */
const REBOOT = [
  0xba,
  ...u32(0x3f8),
  0xa0,
  ...u32(KERNEL_ADDRESS + 0x1c), // mov al, [variable]
  0xee,
  0xfe,
  0x05,
  ...u32(KERNEL_ADDRESS + 0x1c), // inc byte [variable]
  0xb9,
  ...u32(200_000),
  0xe2,
  0xfe, // mov ecx, 200000; loop $
  0xb0,
  0xfe,
  0xe6,
  0x64, // mov al, 0xfe; out 0x64, al
  0x41, // variable
];

describe('direct boot', () => {
  let machine: BareMachine;
  let output: string;
  const initrd = Uint8Array.from({ length: 5000 }, (_, index) => index);
  const emulator = () => machine.emulator;

  const make = async (options: Record<string, unknown> = {}, prepare: (emulator: V86) => void = () => {}) => {
    output = '';
    machine = await bareMachine((made) => {
      made.add_listener('serial0-output-byte', ((byte: number) => (output += String.fromCharCode(byte))) as never);
      V86Machine.of(made);
      prepare(made);
    }, options);
  };
  afterEach(() => machine.destroy());

  /** Runs the emulator until the guest has written so much. */
  const run = async (length: number): Promise<string> => {
    await machine.emulator.run();
    while (output.length < length) await new Promise((resolve) => setImmediate(resolve));
    await machine.emulator.stop();
    return output;
  };

  describe('refuses', () => {
    const cases = [
      {
        name: 'a text',
        vmlinux: new TextEncoder().encode('not a kernel'.repeat(100)),
        expect: /is not an ELF file: direct boot takes the unpacked one/,
      },
      { name: 'an empty file', vmlinux: new Uint8Array(), expect: /is not an ELF file/ },
      {
        name: 'a bzImage',
        vmlinux: bzImage(),
        expect: /is a compressed kernel \(bzImage\): direct boot takes the unpacked one, vmlinux/,
      },
      {
        name: 'a 64-bit kernel',
        vmlinux: patched(4, 2),
        expect: /another processor \(ELF class 2, machine 3\): v86 runs 32-bit x86/,
      },
      { name: 'an ARM kernel', vmlinux: patched(18, 40), expect: /another processor \(ELF class 1, machine 40\)/ },
      { name: 'a shared object', vmlinux: patched(16, 3), expect: /not an executable but an ELF file of type 3/ },
      {
        name: 'headers beyond the end',
        vmlinux: patched(28, 0xff, 0xff),
        expect: /truncated or damaged: its headers point beyond its \d+ bytes/,
      },
      { name: 'headers of another size', vmlinux: patched(42, 56), expect: /truncated or damaged/ },
      { name: 'a file cut short', vmlinux: elf(ANNOUNCE).subarray(0, -1), expect: /truncated or damaged/ },
      {
        name: 'more in the file than in memory',
        vmlinux: elf(ANNOUNCE, { memsz: 4 }),
        expect: /damaged: a segment has \d+ bytes in the file and 4 in memory/,
      },
      {
        name: 'an entry point outside',
        vmlinux: elf(ANNOUNCE, { entry: 0x500000 }),
        expect: /entry point 0x500000 is in none of its segments/,
      },
      { name: 'nothing to load', vmlinux: patched(52, 4), expect: /entry point 0x100000 is in none/ },
      {
        name: 'a kernel in low memory',
        vmlinux: elf(ANNOUNCE, { paddr: 0x10000, entry: 0x10000 }),
        expect: /wants to lie at 0x10000, below 1 MiB/,
      },
      {
        name: 'too little RAM for the kernel',
        vmlinux: elf(ANNOUNCE, { memsz: 16 * MIB }),
        expect: /16 MiB of RAM are not enough: the kernel and the initial RAM disk alone take 18 MiB/,
      },
      {
        name: 'too little RAM for the initial RAM disk',
        vmlinux: elf(ANNOUNCE),
        initrd: new Uint8Array(15 * MIB),
        expect: /16 MiB of RAM are not enough: .* take 17 MiB/,
      },
      {
        name: 'a command line too long',
        vmlinux: elf(ANNOUNCE),
        cmdline: 'x'.repeat(2039),
        expect: /has 2048 bytes: 2047 are the limit/,
      },
    ];
    for (const { name, vmlinux, initrd: disk = initrd, cmdline, expect: message } of cases) {
      it(name, async () => {
        await make();
        const before = machine.cpu.mem8.slice();
        expect(() => directBoot(emulator(), { vmlinux, initrd: disk }, { cmdline })).to.throw(DirectBootError, message);
        expect(Buffer.compare(before, machine.cpu.mem8.slice())).to.equal(0);
      });
    }

    it('an emulator that runs', async () => {
      await make();
      await machine.emulator.run();
      expect(() => directBoot(emulator(), { vmlinux: elf(ANNOUNCE), initrd })).to.throw(
        DirectBootError,
        /runs already/,
      );
    });

    it('an emulator that has not loaded', async () => {
      let error: unknown;
      await make({}, (made) => {
        try {
          directBoot(made, { vmlinux: elf(ANNOUNCE), initrd });
        } catch (thrown) {
          error = thrown;
        }
      });
      expect(error)
        .to.be.instanceOf(MachineError)
        .with.property('message')
        .that.matches(/has not loaded yet: wait for its event 'emulator-loaded'/);
    });
  });

  it('starts the kernel in the state that the 32-bit boot protocol asks for', async () => {
    await make();
    directBoot(emulator(), { vmlinux: elf(REPORT), initrd });
    const [cs, ds, es, ss, pe, pg, interrupts, zero, bootFlag] = Buffer.from(await run(9), 'latin1');
    expect({ cs, ds, es, ss }).to.deep.equal({ cs: 0x10, ds: 0x18, es: 0x18, ss: 0x18 });
    expect({ pe, pg, interrupts, zero, bootFlag }).to.deep.equal({
      pe: 1,
      pg: 0,
      interrupts: 0,
      zero: 0,
      bootFlag: 0x55,
    });
  });

  for (const [name, entry] of [
    ['physical', KERNEL_ADDRESS],
    ['virtual', KERNEL_ADDRESS + VIRTUAL_OFFSET],
  ] as const) {
    it(`takes a ${name} entry point`, async () => {
      await make();
      directBoot(emulator(), { vmlinux: elf(ANNOUNCE, { entry }), initrd }, { cmdline: 'hello kernel' });
      expect(await run(21)).to.equal('acpi=off hello kernel');
    });
  }

  it('puts the initial RAM disk at the end of RAM and says so', async () => {
    await make();
    directBoot(emulator(), { vmlinux: elf(ANNOUNCE), initrd });
    const { mem8 } = machine.cpu;
    const params = new DataView(mem8.buffer, mem8.byteOffset + 0x90000, 4096);
    const [address, size] = [params.getUint32(0x218, true), params.getUint32(0x21c, true)];
    expect({ address, size }).to.deep.equal({ address: 16 * MIB - 8192, size: 5000 });
    expect(mem8.slice(address, address + size)).to.deep.equal(initrd);
  });

  it('keeps it within what a 32-bit kernel maps', async () => {
    await make({ memory_size: 1024 * MIB });
    directBoot(emulator(), { vmlinux: elf(ANNOUNCE), initrd });
    const { mem8 } = machine.cpu;
    expect(new DataView(mem8.buffer, mem8.byteOffset + 0x90218, 4).getUint32(0, true)).to.equal(896 * MIB - 8192);
  });

  it('describes RAM, without the places of firmware and VGA', async () => {
    await make();
    directBoot(emulator(), { vmlinux: elf(ANNOUNCE), initrd });
    const { mem8 } = machine.cpu;
    const params = new DataView(mem8.buffer, mem8.byteOffset + 0x90000, 4096);
    const entries = Array.from({ length: params.getUint8(0x1e8) }, (_, index) => 0x2d0 + index * 20).map((at) => [
      params.getUint32(at, true),
      params.getUint32(at + 8, true),
      params.getUint32(at + 16, true),
    ]);
    expect(entries).to.deep.equal([
      [0, 0x9fc00, 1],
      [0x9fc00, 0x400, 2],
      [0xf0000, 0x10000, 2],
      [MIB, 15 * MIB, 1],
    ]);
  });

  describe('when the guest resets the machine', () => {
    it('loads the kernel anew', async () => {
      await make();
      directBoot(emulator(), { vmlinux: elf(REBOOT), initrd });
      expect((await run(4)).slice(0, 4)).to.equal('AAAA');
    });

    it('stops a restored machine, with a message', async () => {
      await make();
      const load = machine.cpu.load_bios;
      directBoot(emulator(), { vmlinux: elf(REBOOT), initrd });
      Object.assign(machine.cpu, { load_bios: load });
      expect(await run(1 + NOTHING_TO_BOOT.length)).to.equal(`A${NOTHING_TO_BOOT}`);
    });

    it('loads the kernel that a restored machine was given', async () => {
      await make();
      directBoot(emulator(), { vmlinux: elf(REBOOT), initrd });
      directReboot(emulator(), () => ({ vmlinux: elf(ANNOUNCE), initrd }), { cmdline: 'again' });
      expect(await run(15)).to.equal('Aacpi=off again');
    });
  });

  describe('sets up PCI as a BIOS would:', () => {
    const attached = async () => {
      await make({ net_device: { type: 'ne2k' }, filesystem: {}, hda: { buffer: new ArrayBuffer(MIB) } }, (made) => {
        attachVirtioFs(made, { tag: 'one' });
        attachVirtioFs(made, { tag: 'two' });
      });
      directBoot(emulator(), { vmlinux: elf(ANNOUNCE), initrd });
      return Array.from({ length: 32 }, (_, slot) => slot).filter((slot) => machine.readConfig(slot, 0) !== 0xffffffff);
    };
    const ioBars = (slots: number[]) =>
      slots.flatMap((slot) =>
        [0, 1, 2, 3, 4, 5].flatMap((index) => {
          const value = machine.readConfig(slot, 0x10 + 4 * index);
          return value & 1
            ? [
                {
                  slot,
                  index,
                  port: value & 0xfffc,
                  size: Math.max(machine.cpu.devices.pci.devices[slot << 3]!.pci_bars[index]!.size, 4),
                },
              ]
            : [];
        }),
      );

    it('each I/O BAR has ports of its own', async () => {
      const bars = ioBars(await attached());
      expect(bars.filter(({ slot }) => slot === 13 || slot === 14)).to.have.length(2);
      const sorted = bars.sort((a, b) => a.port - b.port);
      for (const { port, size } of sorted) expect(port % size).to.equal(0);
      sorted
        .slice(1)
        .forEach(({ port }, index) => expect(port).to.be.at.least(sorted[index]!.port + sorted[index]!.size));
      expect(sorted[0]!.port).to.be.at.least(0x1000);
    });

    it('a device answers at its new ports', async () => {
      const { port } = ioBars(await attached()).find(({ slot }) => slot === 14)!;
      machine.out(port, 4, 1); // device_feature_select
      expect(machine.in(port + 4, 4) & 1).to.equal(1); // device_feature: VIRTIO_F_VERSION_1
    });

    it('interrupt lines say what the PIIX3 routes, and are level-triggered', async () => {
      const slots = await attached();
      const levels = machine.in(0x4d0, 1) | (machine.in(0x4d1, 1) << 8);
      const withPin = slots.filter((slot) => machine.readConfig(slot, 0x3d, 1));
      expect(withPin).to.include.members([5, 6, 13, 14]);
      for (const slot of withPin) {
        const line = machine.readConfig(slot, 0x3c, 1);
        const pirq = (machine.readConfig(slot, 0x3d, 1) + slot - 2) & 3;
        expect(line)
          .to.equal(machine.readConfig(1, 0x60 + pirq, 1))
          .and.to.be.oneOf([10, 11]);
        expect((levels >> line) & 1).to.equal(1);
      }
    });

    it('devices decode their BARs', async () => {
      for (const slot of await attached()) expect(machine.readConfig(slot, 4, 2) & 3, `slot ${slot}`).to.equal(3);
    });

    it('v86 takes its state back', async () => {
      await attached();
      const state = await machine.emulator.save_state();
      const bars = ioBars([5, 6, 13, 14, 30]);
      await machine.emulator.restore_state(state);
      expect(ioBars([5, 6, 13, 14, 30])).to.deep.equal(bars);
    });
  });
});

/** As much of one as is needed to tell that it is one. */
function bzImage(): Uint8Array {
  const file = new Uint8Array(8192);
  const view = new DataView(file.buffer);
  view.setUint8(0x1f1, 4);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, 0x020f, true);
  view.setUint32(0x248, 0, true);
  view.setUint32(0x24c, 1024, true);
  file.set([0x1f, 0x8b], 5 * 512);
  return file;
}
