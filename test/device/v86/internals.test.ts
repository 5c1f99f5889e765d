import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { attachVirtioFs } from '../../../device/index.ts';
import { V86Machine } from '../../../device/v86/adapter.ts';
import { MachineError } from '../../../device/v86/errors.ts';
import type { Emulator } from '../../../device/v86/types.ts';
import { FIRST_TESTED, haveSameState, isTestedBuild, LAST_TESTED, UNTESTED } from '../../../device/v86/versions.ts';
import { type BareMachine, bareMachine } from '../../support/bare-machine.ts';

/** Hides a member of v86's from the adapter when v86 is ready, as a version without it would. */
async function attachWithout(path: string): Promise<unknown> {
  let device: ReturnType<typeof attachVirtioFs> | undefined;
  const made: BareMachine = await bareMachine((emulator) => {
    emulator.add_listener('emulator-ready', () => {
      const names = path.split('.');
      const owner = names
        .slice(0, -1)
        .reduce<Record<string, unknown>>((value, name) => value[name] as Record<string, unknown>, emulator as never);
      Object.defineProperty(owner, names.at(-1)!, { value: undefined, configurable: true });
    });
    device = attachVirtioFs(emulator, { tag: 'share' });
    device.ready.catch(() => {});
  });
  try {
    return await device!.ready.then(
      () => 'ready',
      (error: unknown) => error,
    );
  } finally {
    await made.destroy().catch(() => {});
  }
}

describe('v86 internals', () => {
  for (const path of [
    'v86.next_tick',
    'v86.cpu.set_state',
    'v86.cpu.get_state',
    'v86.cpu.pack_memory',
    'v86.cpu.mem8',
    'v86.cpu.devices.pci.raise_irq',
    'v86.cpu.devices.pci.pci_addr',
    'v86.cpu.devices.vga',
  ]) {
    it(`a v86 without ${path} is refused by name`, async () => {
      expect(await attachWithout(path))
        .to.be.instanceOf(MachineError)
        .with.property('message')
        .match(
          new RegExp(
            `^this version of v86 can't be used: it lacks ${path.replaceAll('.', '\\.')}\\b.* tested with v86 ${FIRST_TESTED} to ${LAST_TESTED}`,
          ),
        );
    });
  }

  it('what is no V86 is refused', () => {
    for (const other of [{}, { run() {} }, [], () => {}]) {
      expect(() => attachVirtioFs(other as never, { tag: 'share' })).to.throw(
        MachineError,
        /^this is not a V86 object: it lacks add_listener/,
      );
    }
  });
});

describe('v86 versions', () => {
  it('package.json names the tested ones', () => {
    const { peerDependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as Record<
      string,
      Record<string, string>
    >;
    expect(peerDependencies!['v86']).to.equal(`>=${FIRST_TESTED} <=${LAST_TESTED}`);
    expect(devDependencies!['v86']).to.equal(LAST_TESTED);
  });

  it('the one that is installed is known by what it exports', async () => {
    let machine: V86Machine;
    const made = await bareMachine((emulator) => {
      machine = V86Machine.of(emulator);
    });
    const exports = Object.keys(made.cpu.wm.exports);
    await made.destroy();
    expect(machine!.isTested).to.equal(true);
    expect(isTestedBuild(exports.toReversed())).to.equal(true);
    expect(isTestedBuild(exports.slice(1))).to.equal(false);
    expect(isTestedBuild([...exports, 'another'])).to.equal(false);
  });

  it('of another one the console is told once, and it is used all the same', async () => {
    const told: unknown[] = [];
    const { warn } = console;
    console.warn = (...words: unknown[]) => told.push(...words);
    try {
      for (let n = 0; n < 2; n++) {
        let machine: V86Machine;
        const made = await bareMachine((emulator) => {
          emulator.add_listener('emulator-ready', () => {
            const { wm } = (emulator as Emulator).v86!.cpu!;
            Object.defineProperty(wm, 'exports', { value: { ...wm.exports, another: () => {} } });
          });
          machine = V86Machine.of(emulator);
        });
        await machine!.ready;
        expect(machine!.isTested).to.equal(false);
        await made.destroy();
      }
    } finally {
      console.warn = warn;
    }
    expect(told).to.deep.equal([UNTESTED]);
  });

  it('have the same state where they are tested, or the same', () => {
    for (const [a, b, same] of [
      [FIRST_TESTED, LAST_TESTED, true],
      ['0.5.373+g679ecd2', '0.5.462+g5f9a90f', true],
      ['0.5.430', '0.5.430', true],
      ['0.5.319', '0.5.462', false],
      ['0.5.462', '0.5.463', false],
      ['0.5.9999', '0.5.9999', true],
      ['0.6.400', '0.5.400', false],
      ['', '0.5.400', false],
      ['x0.5.400', '0.5.400', false],
      ['0.5.400.1', '0.5.400', false],
    ] as const) {
      expect(haveSameState(a, b), `${a} ${b}`).to.equal(same);
      expect(haveSameState(b, a), `${b} ${a}`).to.equal(same);
    }
  });
});
