import { expect } from 'chai';
import { V86Machine } from '../../../device/v86/adapter.ts';
import { MachineError } from '../../../device/v86/errors.ts';
import type { PciFunction } from '../../../device/v86/pci-bus.ts';
import { type BareMachine, bareMachine } from '../../support/bare-machine.ts';

const SLOT = 13;
const BAR0 = 0x10;

/** A function that notes what reaches it and answers with recognisable values. */
function probeFunction() {
  const configSpace = new Uint8Array(256);
  configSpace.set([0xf4, 0x1a, 0x5a, 0x10, 0, 0, 0x10, 0]);
  configSpace[0x3d] = 1;
  const log: string[] = [];
  const fn: PciFunction = {
    configSpace,
    barSize: 64,
    readBar: (offset, width) => (log.push(`read ${offset} ${width}`), 0xa1b2c3d4 % 2 ** (8 * width)),
    writeBar: (offset, width, value) => void log.push(`write ${offset} ${width} ${value.toString(16)}`),
    readConfig: (offset, width) => (offset === 6 ? 0x0018 : (log.push(`config read ${offset} ${width}`), 0x77)),
    writeConfig: (offset, width, value) => void log.push(`config write ${offset} ${width} ${value.toString(16)}`),
  };
  return { fn, log };
}

/** By how much a counter goes on in `milliseconds`. */
async function measure(counter: () => number, milliseconds: number): Promise<number> {
  const before = counter();
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  return counter() - before;
}

describe('v86 adapter, on a real v86', () => {
  let machine: BareMachine;
  let adapter: V86Machine;
  let resets = 0;
  let setIrq: (level: boolean) => void;
  const { fn, log } = probeFunction();
  const carrier = {
    saved: Uint8Array.of(1, 2, 3),
    prepared: [] as (Uint8Array | undefined)[],
    applied: 0,
    refuse: false,
  };

  before(async () => {
    machine = await bareMachine((emulator) => {
      adapter = V86Machine.of(emulator);
      adapter.plug('probe', adapter.reserveSlot(SLOT), (drive) => {
        setIrq = drive;
        return fn;
      });
      adapter.onReset(() => resets++);
      adapter.stateCarrier = {
        save: () => carrier.saved,
        prepare: (saved) => {
          if (carrier.refuse) throw new Error('refused');
          carrier.prepared.push(saved);
          return () => carrier.applied++;
        },
      };
    });
    await adapter.ready;
  });
  after(() => machine.destroy());
  beforeEach(() => log.splice(0));

  const bar = () => machine.readConfig(SLOT, BAR0) & ~3;

  it('shows the configuration space it was given', () => {
    expect(machine.readConfig(SLOT, 0)).to.equal(0x105a1af4);
    expect(machine.readConfig(SLOT, BAR0) & 3).to.equal(1);
  });

  it('asks the function for its status register and for all past the header', () => {
    expect(machine.readConfig(SLOT, 6, 2)).to.equal(0x0018);
    expect(machine.readConfig(SLOT, 4, 4) >>> 16).to.equal(0x0018);
    expect(machine.readConfig(SLOT, 0x42, 1)).to.equal(0x77);
    machine.writeConfig(SLOT, 0x44, 0x12345678);
    expect(log).to.deep.equal(['config read 66 1', 'config write 68 4 12345678']);
  });

  it('passes port accesses of every width', () => {
    expect(machine.in(bar() + 4, 4)).to.equal(0xa1b2c3d4);
    expect(machine.in(bar() + 5, 1)).to.equal(0xd4);
    machine.out(bar() + 8, 2, 0xffff);
    machine.out(bar() + 12, 4, 0xdeadbeef);
    expect(log).to.deep.equal(['read 4 4', 'read 5 1', 'write 8 2 ffff', 'write 12 4 deadbeef']);
  });

  it('tells the size of its BAR and follows when the BIOS moves it', () => {
    const old = bar();
    machine.writeConfig(SLOT, BAR0, 0xffffffff);
    expect(machine.readConfig(SLOT, BAR0)).to.equal((~(fn.barSize - 1) | 1) >>> 0);
    machine.writeConfig(SLOT, BAR0, 0xc0c0);
    log.splice(0);
    machine.in(0xc0c0 + 2, 1);
    machine.in(old + 2, 1);
    expect(log).to.deep.equal(['read 2 1']);
  });

  it('keeps a shared interrupt line up while anybody asserts it', () => {
    const { pci } = machine.cpu.devices;
    const other = 5 << 3;
    pci.isa_bridge_space8.fill(10, 0x60, 0x64);
    const levels: string[] = [];
    const cpu = machine.cpu as unknown as Record<'device_raise_irq' | 'device_lower_irq', (irq: number) => void>;
    const { device_raise_irq, device_lower_irq } = cpu;
    Object.assign(cpu, {
      device_raise_irq: (irq: number) => levels.push(`+${irq}`),
      device_lower_irq: (irq: number) => levels.push(`-${irq}`),
    });
    pci.raise_irq(other);
    setIrq(true);
    setIrq(false);
    expect(levels.at(-1)).to.equal('+10');
    pci.lower_irq(other);
    expect(levels.at(-1)).to.equal('-10');
    Object.assign(cpu, { device_raise_irq, device_lower_irq });
  });

  it('checks guest addresses and survives growth of the wasm memory', () => {
    const { memory } = adapter;
    memory.writeU32(0x1001, 0x89abcdef);
    machine.cpu.wasm_memory.grow(16);
    expect(memory.readU32(0x1001)).to.equal(0x89abcdef);
    expect(memory.readU16(0x1003)).to.equal(0x89ab);
    expect(() => memory.readU16(memory.size - 1)).to.throw(/outside guest RAM/);
    expect(() => memory.write(-1, new Uint8Array(2), 0, 2)).to.throw(/outside guest RAM/);
    expect(() => memory.read(2 ** 52, new Uint8Array(2), 0, 2)).to.throw(/outside guest RAM/);
  });

  it('tells of a reboot', () => {
    const before = resets;
    machine.emulator.restart();
    expect(resets).to.equal(before + 1);
  });

  it('rides in v86 snapshots and brings back the registers that v86 loses', async () => {
    const { cpu } = machine;
    cpu.mxcsr[0] = 0x1fa0;
    cpu.fpu_status_word[0] = 0x3800;
    cpu.last_result[0] = 1234567;
    const state = await machine.emulator.save_state();
    cpu.mxcsr[0] = 0x1f80;
    cpu.fpu_status_word[0] = 0;
    cpu.last_result[0] = 0;
    await machine.emulator.restore_state(state);
    expect(carrier.prepared.at(-1)).to.deep.equal(carrier.saved);
    expect(carrier.applied).to.equal(1);
    const wasm = new DataView(cpu.wasm_memory.buffer);
    expect([wasm.getInt32(824, true), wasm.getUint16(1040, true), wasm.getInt32(112, true)]).to.deep.equal([
      0x1fa0, 0x3800, 1234567,
    ]);
  });

  it('rounds as the control word says that it brings back', async () => {
    const { exports } = machine.cpu.wm as {
      exports: {
        set_control_word(word: number): void;
        fpu_convert_to_i32(mantissa: bigint, signAndExponent: number): number;
      };
    };
    // 1.7, in the 80 bits of the x87.
    const rounded = () => exports.fpu_convert_to_i32(0xd999_9999_9999_999an, 0x3fff);
    const [TO_NEAREST, DOWN] = [0x037f, 0x077f];
    exports.set_control_word(DOWN);
    const state = await machine.emulator.save_state();
    exports.set_control_word(TO_NEAREST);
    expect(rounded()).to.equal(2);
    await machine.emulator.restore_state(state);
    expect(machine.cpu.fpu_control_word[0]).to.equal(DOWN);
    expect(rounded()).to.equal(1);
  });

  it('brings the time stamp counter back, where v86 adds the emulator’s age each time', async () => {
    const { cpu } = machine;
    const tsc = () => {
      cpu.store_current_tsc();
      return cpu.current_tsc[1]! * 2 ** 32 + cpu.current_tsc[0]!;
    };
    const second = (await measure(tsc, 50)) * 20;
    cpu.set_tsc(1000, 0);
    const state = await machine.emulator.save_state();
    const before = tsc();
    for (let n = 0; n < 5; n++) await machine.emulator.restore_state(state.slice(0));
    expect(Math.abs(tsc() - before), 'counts of less than a second').to.be.lessThan(second);
  });

  it('restores a machine without what was sent to its serial ports before', async () => {
    const bare = await bareMachine((emulator) => void V86Machine.of(emulator));
    const state = await bare.emulator.save_state();
    bare.emulator.serial0_send('x');
    expect(bare.in(0x3fd, 1) & 1, 'there is something to read').to.equal(1);
    await bare.emulator.restore_state(state);
    expect(bare.in(0x3fd, 1) & 1).to.equal(0);
    bare.emulator.serial0_send('y');
    expect(bare.in(0x3f8, 1)).to.equal('y'.charCodeAt(0));
    await bare.destroy();
  });

  describe('leaves its emulator to others', () => {
    it('with nothing in its slots, nobody listening, and the BIOS that v86 has', async () => {
      const events: string[] = [];
      let first: V86Machine;
      const [before, after] = [probeFunction(), probeFunction()];
      const bare = await bareMachine((emulator) => {
        first = V86Machine.of(emulator);
        first.plug('probe', first.reserveSlot(SLOT), () => before.fn);
        emulator.add_listener('serial0-output-byte', () => events.push('byte'));
      });
      const adapter = first!;
      await adapter.ready;
      adapter.onReset(() => events.push('reset'));
      adapter.onHalt(() => events.push('halt'));
      adapter.onStart(() => events.push('start'));
      adapter.onEnd(() => events.push('end'));
      adapter.replaceBios(() => (events.push('bios'), []));
      adapter.stateCarrier = { save: () => Uint8Array.of(1), prepare: () => () => events.push('carrier') };
      await bare.emulator.run();
      events.length = 0;
      await adapter.vacate();
      expect(bare.emulator.is_running()).to.equal(false);
      expect(events).to.deep.equal(['end']);
      expect(V86Machine.of(bare.emulator)).to.equal(adapter);
      // Only what was there can be there again.
      expect(() => adapter.plug('other', adapter.reserveSlot(SLOT + 1), () => probeFunction().fn)).to.throw(
        MachineError,
        /no such device in PCI slot/,
      );
      adapter.plug('probe', adapter.reserveSlot(SLOT), () => after.fn);
      bare.out(0xd000 + SLOT * 0x100, 1, 5);
      expect([before.log.length, after.log.length]).to.deep.equal([0, 1]);
      const state = await bare.emulator.save_state();
      await bare.emulator.restore_state(state);
      bare.out(0x3f8, 1, 0x41);
      adapter.onReset(() => events.push('own reset'));
      bare.cpu.reset_cpu();
      bare.cpu.load_bios();
      expect(events).to.deep.equal(['end', 'own reset']);
      await bare.emulator.run();
      expect(() => adapter.reserveSlot()).to.throw(MachineError, /has started already/);
      await bare.destroy();
      expect(events).to.deep.equal(['end', 'own reset']);
    });
  });

  describe('goes on from a state without our functions', () => {
    let state: ArrayBuffer;
    before(async () => {
      const bare = await bareMachine((emulator) => void V86Machine.of(emulator));
      bare.cpu.devices.pci.isa_bridge_space8.fill(11, 0x60, 0x64);
      bare.cpu.mxcsr[0] = 0x1fa0;
      bare.cpu.mem8.set([1, 2, 3], 0x300000);
      bare.cpu.set_tsc(1000, 0);
      state = await bare.emulator.save_state();
      await bare.destroy();
    });

    it('and plugs them in afterwards, with the interrupt that a BIOS would have given them', async () => {
      let fresh: V86Machine;
      const bare = await bareMachine((emulator) => {
        fresh = V86Machine.of(emulator);
        // As a part of a file, whose `slice` is no copy.
        fresh.goOnFrom(Buffer.concat([Buffer.alloc(20), new Uint8Array(state)]).subarray(20));
        fresh.plug('probe', fresh.reserveSlot(SLOT), () => probeFunction().fn);
      });
      await fresh!.ready;
      expect(bare.readConfig(SLOT, 0)).to.equal(0x105a1af4);
      expect(bare.readConfig(SLOT, 0x3c, 1)).to.equal(11);
      expect([...bare.cpu.mem8.slice(0x2fffff, 0x300004)]).to.deep.equal([0, 1, 2, 3, 0]);
      // Where v86 itself would have replaced the view of it.
      expect(new DataView(bare.cpu.wasm_memory.buffer).getInt32(824, true)).to.equal(0x1fa0);
      // The next restore is v86's own again: pages that the state does not have become zero.
      const later = await bare.emulator.save_state();
      bare.cpu.mem8.set([9], 0x400000);
      await bare.emulator.restore_state(later);
      expect(bare.cpu.mem8[0x400000]).to.equal(0);
      await bare.destroy();
    });

    it('but not when that is of another machine', async () => {
      let fresh: V86Machine;
      const bare = await bareMachine(
        (emulator) => {
          fresh = V86Machine.of(emulator);
          fresh.goOnFrom(new Uint8Array(state));
          fresh.ready.catch(() => {});
        },
        { memory_size: 32 << 20 },
      );
      expect(await fresh!.ready.catch((error: Error) => error))
        .to.be.instanceOf(MachineError)
        .with.property('message')
        .match(/memory_size differs/);
      await bare.destroy();
    });
  });

  it('changes nothing when its part of a snapshot is refused', async () => {
    const state = await machine.emulator.save_state();
    adapter.memory.writeU32(0x2000, 42);
    carrier.refuse = true;
    const error = await machine.emulator.restore_state(state).catch((e: Error) => e);
    carrier.refuse = false;
    expect(error).to.be.an('error').with.property('message', 'refused');
    expect(adapter.memory.readU32(0x2000)).to.equal(42);
  });

  it('refuses to attach to an emulator that has loaded', async () => {
    const late = await bareMachine(() => {});
    expect(() => V86Machine.of(late.emulator)).to.throw(MachineError, /right after `new V86/);
    expect(() => adapter.reserveSlot()).to.throw(MachineError, /right after `new V86/);
    await late.destroy();
  });

  it('refuses a slot that is taken, and names the free ones', async () => {
    const other = await bareMachine((emulator) => {
      const fresh = V86Machine.of(emulator);
      fresh.reserveSlot(SLOT);
      expect(() => fresh.reserveSlot(SLOT)).to.throw(MachineError, /slot 13 is taken.*choose one of 2, 3/);
      expect(() => fresh.reserveSlot(30)).to.throw(MachineError, /slot 30 is taken/);
    });
    await other.destroy();
  });

  for (const { name, options, plug, says } of [
    {
      name: 'another memory size',
      options: { memory_size: 32 << 20 },
      plug: true,
      says: /memory_size differs: the snapshot has 16777216 bytes, this emulator 33554432/,
    },
    {
      name: 'another video memory',
      options: { vga_memory_size: 1 << 20 },
      plug: true,
      says: /vga_memory_size differs: the snapshot has 8388608 bytes, this emulator 1048576/,
    },
    {
      name: 'a device missing here',
      options: {},
      plug: false,
      says: /PCI slot 13 differs: the snapshot has device 1af4:105a, this emulator nothing/,
    },
    {
      name: 'a device that the snapshot lacks',
      options: { virtio_console: true },
      plug: true,
      says: /PCI slot 12 differs: the snapshot has nothing, this emulator virtio-console/,
    },
  ]) {
    it(`refuses a snapshot of another machine: ${name}`, async () => {
      const state = await machine.emulator.save_state();
      const another = await bareMachine((emulator) => {
        const made = V86Machine.of(emulator);
        if (plug) made.plug('probe', made.reserveSlot(SLOT), () => probeFunction().fn);
      }, options);
      const error = await another.emulator.restore_state(state).catch((e: Error) => e);
      expect(error).to.be.instanceOf(MachineError).with.property('message').match(says);
      await another.destroy();
    });
  }
});
