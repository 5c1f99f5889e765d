import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import type { V86 } from 'v86';
import { attachVirtioFs, type VirtioFsDevice, type Volume } from '../../device/index.ts';
import { GuestAgent, type GuestProcess, uartChannel } from '../../harness/machine/agent/guest-agent.ts';
import { createEmulator } from '../../harness/machine/emulator.ts';
import { Lines } from '../../harness/node/demo/lines.ts';
import { writeSnapshot } from '../../harness/node/stores/snapshot-file.ts';
import { compileV86 } from '../../harness/node/v86.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useCli } from '../support/cli.ts';
import { useGuest } from '../support/guest.ts';

const BOOK = crypto.getRandomValues(new Uint8Array(50_000));
const CHAPTERS = Array.from({ length: 200 }, (_, n) => `a-chapter-with-a-long-name-${n}`);
const SECRET = 'written before the freeze, and already deleted\n';
const hex = (crc: number) => crc.toString(16).padStart(8, '0');

/** Starts the guest program that holds what a freeze must not lose; returns what it has read of the directory. */
async function startHolder(vm: Vm): Promise<{ holder: GuestProcess; read: string[] }> {
  const { fs } = vm.share();
  // In the guest: for a second it may believe in what the host removes.
  await vm.exec('rm -rf chapters deep named append mapped', { cwd: vm.share().mountPoint });
  fs.writeFileSync('/book', BOOK);
  fs.mkdirSync('/chapters');
  for (const name of CHAPTERS) fs.writeFileSync(`/chapters/${name}`, '');
  const holder = vm.spawn(['holder', vm.share().mountPoint]);
  const read = await new Lines(holder).until('ready');
  expect(read.filter((line) => line.startsWith('failed'))).to.deep.equal([]);
  return { holder, read };
}

/** Lets it go on, and checks all that it tells. `removed`: entries that have gone from the directory meanwhile. */
async function goOn(process: GuestProcess, volume: Volume, read: string[], removed: string[] = []): Promise<void> {
  const lines = new Lines(process);
  await process.write('go on\n');
  const told = await lines.until('done');
  const half = BOOK.subarray(BOOK.length / 2);
  const rest = SECRET.repeat(990);
  expect(told).to.include(`book from ${half.length} bytes ${half.length} crc ${hex(crc32(half))} links 1`);
  expect(told).to.include(`secret from ${10 * SECRET.length} bytes ${rest.length} crc ${hex(crc32(rest))} links 0`);
  const entries = [...read, ...told].flatMap((line) => (line.startsWith('entry ') ? [line.slice(6)] : []));
  expect(new Set(entries).size, 'no entry twice').to.equal(entries.length);
  expect(entries).to.include.members(['.', '..', ...CHAPTERS.filter((name) => !removed.includes(name))]);
  expect(told).to.include.members([
    'cwd /mnt/share/deep/down/in/the/tree',
    'mapped dd',
    `handle of ${BOOK.length} bytes`,
  ]);
  expect(await process.exited).to.equal(0);
  expect(volume.readFileSync('/append', 'utf8')).to.equal('before after');
  expect(volume.readFileSync('/named', 'utf8')).to.equal('nameless');
  const mapped = volume.readFileSync('/mapped') as Buffer;
  expect([mapped.length, mapped[4000], mapped[4099], mapped[4100], mapped[4199], mapped[4200]]).to.deep.equal([
    8192, 101, 101, 100, 100, 0,
  ]);
}

describe('freeze and restore', () => {
  const guest = useGuest();
  const cli = useCli();

  it('takes the same machine back', async () => {
    const { vm, sh } = guest;
    const { fs } = vm.share();
    await sh('echo before > file; mkdir dir');
    const { holder, read } = await startHolder(vm);
    const snapshot = await vm.save();
    await sh('echo after > file; rm -r dir; echo x > new');
    holder.kill(9);
    await holder.exited;
    await vm.restore(snapshot);
    expect(fs.readFileSync('/file', 'utf8')).to.equal('before\n');
    expect([fs.existsSync('/dir'), fs.existsSync('/new')]).to.deep.equal([true, false]);
    expect(await sh('cat file; ls -d dir')).to.equal('before\ndir\n');
    await goOn(vm.agent.attach(holder.id), vm.share().volume, read);
  });

  it('the machine goes on after a snapshot as if there had been none', async () => {
    const { holder, read } = await startHolder(guest.vm);
    await guest.vm.save();
    holder.onStdout = undefined;
    await goOn(holder, guest.vm.share().volume, read);
  });

  it('goes on in a new emulator, and the old one goes on too', async () => {
    const { vm } = guest;
    const { holder, read } = await startHolder(vm);
    const snapshot = await vm.save();
    const other = await Vm.restore(snapshot);
    try {
      await goOn(other.agent.attach(holder.id), other.share().volume, read);
      await other.exec('echo other > /mnt/share/whose');
      expect(vm.share().fs.existsSync('/whose')).to.equal(false);
      await goOn(holder, vm.share().volume, read);
    } finally {
      await other.stop();
    }
  });

  it('half a directory: entries that go between freeze and the rest are not seen, the others once', async () => {
    const { vm } = guest;
    const { holder, read } = await startHolder(vm);
    const other = await Vm.restore(await vm.save());
    try {
      const { fs } = other.share();
      const removed = CHAPTERS.slice(-30);
      for (const name of removed) fs.unlinkSync(`/chapters/${name}`);
      for (let n = 0; n < 30; n++) fs.writeFileSync(`/chapters/added-${n}`, '');
      await goOn(other.agent.attach(holder.id), other.share().volume, read, removed);
    } finally {
      await other.stop();
    }
    holder.kill(9);
  });

  it('comes up from initial_state, with nothing but v86’s own API', async () => {
    const { vm } = guest;
    const { holder, read } = await startHolder(vm);
    const state = await vm.emulator.save_state();
    let device: VirtioFsDevice;
    const emulator = await createEmulator(
      {
        memory_size: 256 << 20,
        vga_memory_size: 256 << 10,
        initial_state: { buffer: state },
        uart1: true,
        net_device: { type: 'ne2k' },
      } as never,
      await compileV86(),
      (made) => {
        device = attachVirtioFs(made, { tag: 'share' });
      },
    );
    try {
      const agent = new GuestAgent(uartChannel(emulator));
      await emulator.run();
      await agent.ready();
      await goOn(agent.attach(holder.id), device!.volume, read);
      await agent.exec('echo here > /mnt/share/here');
      expect(device!.volume.readFileSync('/here', 'utf8')).to.equal('here\n');
    } finally {
      await emulator.destroy();
    }
    holder.kill(9);
  });

  it('goes on in a new Node process: the demo', async function () {
    this.timeout(300_000);
    const { code, stdout, stderr } = await cli.run(['demo']);
    expect(code, stdout + stderr).to.equal(0);
    expect(stdout.match(/✓/g)).to.have.length.at.least(10);
  });

  describe('a snapshot that does not fit is refused, and the machine goes on', () => {
    const refusal = async (action: Promise<unknown>): Promise<string> => {
      const error = await action.then(
        () => undefined,
        (caught: Error) => caught,
      );
      expect(error).to.be.instanceOf(Error);
      expect(await guest.sh('echo still here')).to.equal('still here\n');
      return error!.message;
    };

    it('of another memory size', async () => {
      const other = await Vm.boot({ memory: 128, shares: [{ tag: 'share' }] });
      const snapshot = await other.save();
      await other.stop();
      expect(await refusal(guest.vm.restore(snapshot))).to.match(/memory.*128.*256/);
      expect(await refusal(guest.vm.emulator.restore_state(new Uint8Array(snapshot.bytes).buffer))).to.match(
        /memory_size differs/,
      );
    });

    it('of another tag', async () => {
      const other = await Vm.boot({ shares: [{ tag: 'other' }] });
      const snapshot = await other.save();
      await other.stop();
      expect(await refusal(guest.vm.restore(snapshot))).to.match(/share/);
      expect(await refusal(guest.vm.emulator.restore_state(new Uint8Array(snapshot.bytes).buffer))).to.match(
        /"other" in slot 13; this emulator "share"/,
      );
    });

    it('of a v86 without virtio-fs', async () => {
      const plain = await createEmulator(
        { memory_size: 256 << 20, vga_memory_size: 256 << 10, uart1: true, net_device: { type: 'ne2k' } } as never,
        await compileV86(),
        () => {},
      );
      const state = await (plain as V86).save_state();
      await plain.destroy();
      expect(await refusal(guest.vm.emulator.restore_state(state))).to.match(
        /slot 13 differs: the snapshot has nothing/,
      );
    });

    it('a file that is cut off', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'freeze-'));
      try {
        const path = join(directory, 'snapshot');
        await writeSnapshot(path, await guest.vm.save());
        await writeFile(path, (await import('node:fs')).readFileSync(path).subarray(0, 1_000_000));
        expect(await refusal(Vm.restore(path))).to.match(/truncated: 1000000 bytes of/);
      } finally {
        await rm(directory, { recursive: true });
      }
    });
  });
});
