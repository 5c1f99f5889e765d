import { expect } from 'chai';
import { BAR, BAR_SIZE, makeConfigSpace } from '../../../device/virtio/pci-config-space.ts';
import { EchoDevice } from '../../support/echo-device.ts';
import { MockDriver } from '../../support/mock-driver.ts';

interface Capability {
  at: number;
  id: number;
  cfg_type: number;
  length: number;
  bar: number;
  region: { offset: number; length: number };
}

/** Walks the capability list as a driver does. */
function capabilities(space: Uint8Array): Capability[] {
  const view = new DataView(space.buffer);
  const found: Capability[] = [];
  for (let at = space[0x34]!; at !== 0; at = space[at + 1]!) {
    found.push({
      at,
      id: space[at]!,
      length: space[at + 2]!,
      cfg_type: space[at + 3]!,
      bar: space[at + 4]!,
      region: { offset: view.getUint32(at + 8, true), length: view.getUint32(at + 12, true) },
    });
  }
  return found;
}

describe('PCI configuration space', () => {
  const space = makeConfigSpace(26, 40);
  const view = new DataView(space.buffer);
  const list = capabilities(space);
  const vendor = (cfg_type: number) => list.find((cap) => cap.id === 9 && cap.cfg_type === cfg_type)!;

  it('4.1.2: vendor 0x1AF4, device 0x1040 + 26', () => {
    expect([view.getUint16(0, true), view.getUint16(2, true)]).to.deep.equal([0x1af4, 0x105a]);
  });

  it('4.1.2.1: revision 1 or higher, subsystem id 0x40 or higher: not transitional', () => {
    expect(space[8]).to.be.at.least(1);
    expect(view.getUint16(0x2e, true)).to.be.at.least(0x40);
  });

  it('4.1.4: every structure has a capability, and the list ends', () => {
    expect(view.getUint16(6, true) & 0x10, 'status: capabilities list').to.equal(0x10);
    expect(list.map(({ id, cfg_type }) => (id === 9 ? cfg_type : `pm`))).to.deep.equal(['pm', 1, 2, 3, 4, 5]);
  });

  it('4.1.4: capabilities are aligned and do not overlap', () => {
    const ends = list
      .map(({ at, id, length }) => [at, at + (id === 9 ? length : 8)] as const)
      .sort(([a], [b]) => a - b);
    ends.forEach(([at, end], n) => {
      expect(at % 4).to.equal(0);
      expect(end).to.be.at.most(ends[n + 1]?.[0] ?? 256);
    });
  });

  it('4.1.4: structures are inside BAR 0 and do not overlap', () => {
    const regions = [1, 2, 3, 4].map((type) => vendor(type)).sort((a, b) => a.region.offset - b.region.offset);
    regions.forEach(({ bar, region: { offset, length } }, n) => {
      expect(bar).to.equal(0);
      expect(offset % 4).to.equal(0);
      expect(length).to.be.greaterThan(0);
      expect(offset + length).to.be.at.most(regions[n + 1]?.region.offset ?? BAR_SIZE);
    });
  });

  it('4.1.4.3.1: the common configuration is long enough for queue_reset', () => {
    expect(vendor(1).region.length).to.be.at.least(0x3c);
  });

  it('4.1.4.4.1: notify_off_multiplier is 0 or an even power of two, and the length covers every queue', () => {
    const cap = vendor(2);
    expect(cap.length).to.equal(20);
    const multiplier = view.getUint32(cap.at + 16, true);
    expect(multiplier === 0 || (multiplier >= 2 && Number.isInteger(Math.log2(multiplier)))).to.equal(true);
    const driver = new MockDriver(new EchoDevice([16, 16, 16]));
    for (let queue = 0; queue < 3; queue++) {
      driver.write('queue_select', queue);
      expect(driver.read('queue_notify_off') * multiplier + 2).to.be.at.most(cap.region.length);
    }
  });

  it('4.1.4.5: ISR status is one byte; 4.1.4.6: device configuration as long as the device has', () => {
    expect(vendor(3).region.length).to.be.at.least(1);
    expect(vendor(4).region.length).to.equal(40);
  });

  it('PCI PM: version 1.2, and No_Soft_Reset, so that suspend need not reset', () => {
    const [pm] = list;
    expect(pm!.id).to.equal(1);
    expect(view.getUint16(pm!.at + 2, true) & 7).to.equal(3);
    expect(view.getUint16(pm!.at + 4, true) & 0b1011).to.equal(0b1000);
  });

  it('refuses a device configuration that has no room', () => {
    expect(() => makeConfigSpace(26, BAR.device.length + 1)).to.throw(RangeError, /room for 128/);
  });
});
