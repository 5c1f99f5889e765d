import { expect } from 'chai';
import fc from 'fast-check';
import {
  canSleep,
  devicesOf,
  type Equipment,
  equipmentOf,
  type MachineConfig,
  readConfig,
  v86OptionsOf,
} from '../../../harness/machine/config.ts';
import { VmError } from '../../../harness/machine/errors.ts';
import { readSummary } from '../../../harness/machine/summary.ts';

const CONFIG: MachineConfig = { emulator: '0.5.462', image: 'abc', memory: 256, devices: ['virtio-fs share'] };

describe('what a machine is', () => {
  it('is told by its devices, and read from them again', () => {
    fc.assert(
      fc.property(
        fc.record<Equipment>({
          acpi: fc.boolean(),
          isMinimalKernel: fc.boolean(),
          hasFastDriver: fc.boolean(),
          ninep: fc.boolean(),
          network: fc.constantFrom('ne2k', 'virtio'),
          videoMemory: fc.integer({ min: 8, max: 18 }).map((n) => 2 ** n),
          tags: fc.array(fc.string({ minLength: 1 })),
        }),
        fc.array(fc.uuid()),
        fc.array(fc.stringMatching(/^[0-9a-f]{64}$/)),
        fc.option(fc.record({ init: fc.option(fc.string({ minLength: 1 }), { nil: undefined }) }), { nil: undefined }),
        (parts, uuids, ids, root) => {
          const byTag = (values: string[]) =>
            new Map(parts.tags.slice(0, values.length).map((tag, n) => [tag, values[n]!]));
          const [tag] = parts.tags;
          const equipment = {
            ...parts,
            live: byTag(uuids),
            images: byTag(ids),
            ...(root && tag !== undefined && { root: { tag, ...(root.init !== undefined && { init: root.init }) } }),
          };
          expect(equipmentOf({ devices: devicesOf(equipment) })).to.deep.equal({ ...equipment, others: [] });
        },
      ),
    );
  });

  it('tells whether its guest can sleep, as `suspend` of the command line does', () => {
    for (const [devices, can] of [
      [['ACPI'], false],
      [['ACPI', 'fast driver'], true],
      [['ACPI', 'minimal kernel'], true],
      [['fast driver', 'minimal kernel'], false],
    ] as const)
      expect(canSleep(equipmentOf({ devices: [...devices] })), devices.join()).to.equal(can);
  });

  it('keeps apart what it does not know', () => {
    const { others, videoMemory } = equipmentOf({ devices: ['video memory 1e3', 'virtio-fs a', 'a laser'] });
    expect(others).to.deep.equal(['video memory 1e3', 'a laser']);
    expect(videoMemory).to.equal(1000);
  });

  it('says what v86 is to be told', () => {
    const devices = ['ACPI', '9p host9p', 'network virtio', 'video memory 256', 'virtio-fs share'];
    expect(v86OptionsOf({ ...CONFIG, devices })).to.deep.equal({
      memory_size: 256 << 20,
      vga_memory_size: 256 << 10,
      filesystem: {},
      net_device: { type: 'virtio' },
      uart1: true,
      acpi: true,
    });
    expect(v86OptionsOf(CONFIG)).to.deep.equal({
      memory_size: 256 << 20,
      vga_memory_size: 8 << 20,
      net_device: { type: 'ne2k' },
      uart1: true,
      acpi: false,
    });
  });

  it('is refused from a snapshot or a peer that does not say it', () => {
    expect(readConfig({ ...CONFIG, more: 1 })).to.deep.equal(CONFIG);
    for (const wrong of [
      {},
      { ...CONFIG, emulator: undefined },
      { ...CONFIG, image: 1 },
      { ...CONFIG, memory: '256' },
      { ...CONFIG, devices: 'virtio-fs share' },
      { ...CONFIG, devices: [1] },
    ])
      expect(() => readConfig(wrong))
        .to.throw(VmError, /does not say what its machine is/)
        .with.property('kind', 'snapshot');
  });

  it('what is told besides may be anything', () => {
    const nothing = { console: [], isAsleep: false, isOff: false, unheard: undefined, others: {} };
    for (const other of [
      undefined,
      null,
      5,
      'text',
      [],
      { console: 5, isAsleep: 'yes', isOff: 1, unheard: 'x', unsettled: 'x' },
    ])
      expect(readSummary(other)).to.deep.equal(nothing);
    const unheard = { begun: Uint8Array.of(1), output: [] };
    expect(readSummary({ console: ['a', 5, 'b'], isAsleep: true, isOff: true, unheard, shells: [1] })).to.deep.equal({
      console: ['a', 'b'],
      isAsleep: true,
      isOff: true,
      unheard,
      others: { shells: [1] },
    });
    fc.assert(fc.property(fc.anything(), (summary) => Array.isArray(readSummary(summary).console)));
  });
});
