import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { checkConfig, type MachineConfig } from '../../../../harness/machine/config.ts';
import { VmError } from '../../../../harness/machine/errors.ts';
import {
  decodeSnapshot,
  makeSnapshot,
  readSnapshot,
  writeSnapshot,
} from '../../../../harness/node/stores/snapshot-file.ts';

const CONFIG: MachineConfig = { emulator: '0.5.1', image: 'abc', memory: 256, devices: ['virtio-fs share'] };
const STATE = Uint8Array.from({ length: 5000 }, (_, index) => index * 7);

/** What the first release with this format wrote: never made again, so that it can always be read. */
const GOLDEN =
  'Vjg2VklSRlMBAAAAkQAAAHInp3mkZXN0YXRlomVjcmMzMhpHC5n0Zmxlbmd0aAVmY29uZmlnpGVpbWFnZWNhYmNmbWVtb3J5GQEAZ2RldmljZXOBb3ZpcnRpby1mcyBzaGFy' +
  'ZWhlbXVsYXRvcmUwLjUuMWdjb25zb2xlgWZsb2dpbjpnY3JlYXRlZHgYMjAyNi0wMS0wMlQwMzowNDowNS42NzhaAQIDBAU=';

describe('snapshot file', () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'snapshot-'));
    path = join(directory, 'machine.snapshot');
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('gives back what was written', async () => {
    const snapshot = makeSnapshot(CONFIG, ['login:'], STATE);
    await writeSnapshot(path, snapshot);
    const read = await readSnapshot(path);
    expect({ ...read, bytes: [...read.bytes] }).to.deep.equal({ ...snapshot, bytes: [...STATE] });
  });

  it('reads the golden file of version 1', () => {
    const { bytes, ...head } = decodeSnapshot(Buffer.from(GOLDEN, 'base64'), 'golden');
    expect([...bytes]).to.deep.equal([1, 2, 3, 4, 5]);
    expect(head).to.deep.equal({
      created: '2026-01-02T03:04:05.678Z',
      config: CONFIG,
      console: ['login:'],
      state: { length: 5, crc32: head.state.crc32 },
    });
  });

  it('replaces an older one and leaves nothing else behind', async () => {
    await writeSnapshot(path, makeSnapshot(CONFIG, [], STATE));
    await writeSnapshot(path, makeSnapshot(CONFIG, ['second'], STATE));
    expect((await readSnapshot(path)).console).to.deep.equal(['second']);
    expect(await readdir(directory)).to.deep.equal(['machine.snapshot']);
  });

  it('refuses a file cut off at any length', async () => {
    await writeSnapshot(path, makeSnapshot(CONFIG, [], STATE));
    const file = await readFile(path);
    for (let length = 0; length < file.length; length += 13) {
      expect(() => decodeSnapshot(file.subarray(0, length), 'x'), `${length} bytes`).to.throw(
        VmError,
        /truncated|not a snapshot/,
      );
    }
  });

  it('refuses a file with any byte of its head, or of the state, changed', async () => {
    await writeSnapshot(path, makeSnapshot(CONFIG, [], STATE));
    const file = await readFile(path);
    for (let at = 0; at < file.length; at += at < 300 ? 1 : 101) {
      const changed = Buffer.from(file);
      changed[at]! ^= 0x10;
      expect(() => decodeSnapshot(changed, 'x'), `byte ${at}`).to.throw(VmError, /x /);
    }
  });

  it('says which release to use for a newer format', async () => {
    await writeSnapshot(path, makeSnapshot(CONFIG, [], STATE));
    const file = await readFile(path);
    file.writeUInt32LE(9, 8);
    await writeFile(path, file);
    const error = await readSnapshot(path).catch((reason: unknown) => reason);
    expect(error)
      .to.be.instanceOf(VmError)
      .with.property('message')
      .that.matches(/version 9.*reads 1.*newer release/);
  });

  it('says which file is missing', async () => {
    const error = await readSnapshot(path).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(VmError).with.property('message').that.contains(path);
  });

  const mismatches: { name: string; change: Partial<MachineConfig>; expect: RegExp }[] = [
    { name: 'memory', change: { memory: 128 }, expect: /memory in MiB: the snapshot has 256, this machine 128/ },
    { name: 'v86', change: { emulator: '0.6.0' }, expect: /v86 version: the snapshot has 0.5.1, this machine 0.6.0/ },
    { name: 'image', change: { image: 'def' }, expect: /guest image: the snapshot has abc, this machine def/ },
    {
      name: 'tag',
      change: { devices: ['virtio-fs other'] },
      expect: /the snapshot has virtio-fs share, this machine virtio-fs other/,
    },
    { name: 'no devices', change: { devices: [] }, expect: /this machine none/ },
  ];
  for (const { name, change, expect: message } of mismatches) {
    it(`names the setting that differs: ${name}`, () => {
      expect(() => checkConfig(CONFIG, { ...CONFIG, ...change })).to.throw(VmError, message);
    });
  }

  it('names every setting that differs', () => {
    expect(() => checkConfig(CONFIG, { ...CONFIG, memory: 64, image: 'z' })).to.throw(VmError, /guest image.*memory/);
  });
});
