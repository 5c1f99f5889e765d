import { expect } from 'chai';
import { attachVirtioFs, MachineError, type VirtioFsDevice, Volume } from '../../device/index.ts';
import { type BareMachine, bareMachine } from '../support/bare-machine.ts';

describe('attachVirtioFs, on a real v86', () => {
  let machine: BareMachine;
  let first: VirtioFsDevice;
  let second: VirtioFsDevice;

  before(async () => {
    machine = await bareMachine((emulator) => {
      first = attachVirtioFs(emulator, { tag: 'first' });
      second = attachVirtioFs(emulator, { tag: 'second', volume: new Volume(), requestQueues: 2 });
    });
    await Promise.all([first.ready, second.ready]);
  });
  after(() => machine.destroy());

  it('puts each device on the bus as virtio device 26, revision 1 or later', () => {
    expect(first.slot).to.not.equal(second.slot);
    for (const { slot } of [first, second]) {
      expect(machine.readConfig(slot, 0)).to.equal(0x105a1af4);
      expect(machine.readConfig(slot, 8, 1)).to.be.at.least(1);
    }
  });

  it('stands beside v86’s own devices', async () => {
    const full = await bareMachine((emulator) => attachVirtioFs(emulator, { tag: 'share' }), {
      filesystem: {},
      virtio_console: true,
      virtio_balloon: true,
      net_device: { type: 'virtio' },
      acpi: true,
    });
    const devices = full.cpu.devices.pci.devices.flatMap((device) => device?.name ?? []);
    expect(devices).to.include.members([
      'virtio-9p',
      'virtio-console',
      'virtio-net',
      'virtio-balloon',
      'virtio-fs share',
    ]);
    await full.destroy();
  });

  const refused: {
    name: string;
    options: Parameters<typeof attachVirtioFs>[1];
    error: typeof MachineError | typeof RangeError;
    says: RegExp;
  }[] = [
    {
      name: 'a tag over 36 bytes of UTF-8',
      options: { tag: 'ü'.repeat(19) },
      error: RangeError,
      says: /38 bytes of UTF-8.*1 to 36.*choose a shorter/,
    },
    { name: 'an empty tag', options: { tag: '' }, error: RangeError, says: /0 bytes/ },
    { name: 'a tag with NUL', options: { tag: 'a\0b' }, error: RangeError, says: /no NUL/ },
    {
      name: 'a slot of v86’s own',
      options: { tag: 'x', slot: 6 },
      error: MachineError,
      says: /slot 6 is taken.*leave `slot` out/,
    },
    {
      name: 'no request queue',
      options: { tag: 'x', requestQueues: 0 },
      error: RangeError,
      says: /requestQueues is 0/,
    },
    {
      name: 'a queue size that is no power of two',
      options: { tag: 'x', queueSize: 100 },
      error: RangeError,
      says: /queueSize is 100/,
    },
    {
      name: 'a queue size that the guest could not mount with',
      options: { tag: 'x', queueSize: 4 },
      error: RangeError,
      says: /queueSize is 4/,
    },
  ];
  for (const { name, options, error, says } of refused) {
    it(`refuses ${name}, and names the cure`, async () => {
      const other = await bareMachine((emulator) => {
        expect(() => attachVirtioFs(emulator, options)).to.throw(error, says);
        attachVirtioFs(emulator, { tag: 'x' });
        expect(() => attachVirtioFs(emulator, { tag: 'x' })).to.throw(MachineError, /tag "x" already/);
      });
      await other.destroy();
    });
  }

  it('refuses two devices in one slot', async () => {
    const other = await bareMachine((emulator) => {
      attachVirtioFs(emulator, { tag: 'a', slot: 14 });
      expect(() => attachVirtioFs(emulator, { tag: 'b', slot: 14 })).to.throw(MachineError, /slot 14 is taken/);
    });
    await other.destroy();
  });

  it('refuses an emulator that runs already', () => {
    expect(() => attachVirtioFs(machine.emulator, { tag: 'late' })).to.throw(MachineError, /right after `new V86/);
  });
});
