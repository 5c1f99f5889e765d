import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type FateStore, MemoryFates, MigrationError } from '../../../../device/index.ts';
import { DirectoryFates } from '../../../../harness/node/migration/directory-fates.ts';

const PROCESS = fileURLToPath(new URL('../../../support/fates-process.ts', import.meta.url));

describe('what became of migrations', () => {
  let directory: string;
  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), 'fates-')), 'of', 'a', 'store');
  });
  afterEach(() => rmSync(join(directory, '../../..'), { recursive: true }));

  for (const [where, make] of [
    ['in memory', () => new MemoryFates()],
    ['in a directory', () => new DirectoryFates(directory)],
  ] as [string, () => FateStore][]) {
    describe(where, () => {
      it('an id that was never accepted has none, and nothing is left behind', async () => {
        const fates = make();
        for (const id of [randomUUID(), randomUUID()])
          for (const fate of ['never', 'started'] as const) expect(await fates.decide(id, fate)).to.equal(undefined);
        expect(() => readdirSync(directory)).to.throw('ENOENT');
      });

      it('who decides first decides for good', async () => {
        const fates = make();
        const [first, second] = [randomUUID(), randomUUID()];
        await fates.accept(first);
        await fates.accept(second);
        for (const fate of ['started', 'never', 'started'] as const)
          expect(await fates.decide(first, fate)).to.equal('started');
        for (const fate of ['never', 'started', 'never'] as const)
          expect(await fates.decide(second, fate)).to.equal('never');
      });

      it('two at once decide the same', async () => {
        const fates = make();
        for (let n = 0; n < 50; n++) {
          const id = randomUUID();
          await fates.accept(id);
          const [one, other] = await Promise.all([
            fates.decide(id, n % 2 ? 'started' : 'never'),
            fates.decide(id, n % 2 ? 'never' : 'started'),
          ]);
          expect(one).to.be.oneOf(['started', 'never']);
          expect(other).to.equal(one);
        }
      });

      it('an id is accepted once, decided or not', async () => {
        const fates = make();
        const id = randomUUID();
        await fates.accept(id);
        const again = async () => fates.accept(id).catch((error: Error) => error);
        expect(await again())
          .to.be.instanceOf(MigrationError)
          .with.property('message')
          .that.matches(/on record already/);
        await fates.decide(id, 'never');
        expect(await again()).to.be.instanceOf(MigrationError);
        expect(await fates.decide(id, 'started')).to.equal('never');
      });
    });
  }

  it('a directory keeps them for the next process, and nobody else can read it', async () => {
    const [accepted, started] = [randomUUID(), randomUUID()];
    const before = new DirectoryFates(directory);
    await before.accept(accepted);
    await before.accept(started);
    await before.decide(started, 'started');
    const after = new DirectoryFates(directory);
    expect(await after.decide(started, 'never')).to.equal('started');
    expect(await after.decide(accepted, 'never')).to.equal('never');
    expect(await before.decide(accepted, 'started'), 'who had accepted it').to.equal('never');
    expect(statSync(directory).mode & 0o777).to.equal(0o700);
  });

  it('two processes that decide at the same time decide the same', async function () {
    this.timeout(60_000);
    const ids = Array.from({ length: 300 }, () => randomUUID());
    const fates = new DirectoryFates(directory);
    for (const id of ids) await fates.accept(id);
    const processes = (['started', 'never'] as const).map((fate) => {
      const child = spawn(process.execPath, ['--import', 'tsx', PROCESS, directory, fate, ...ids]);
      let said = '';
      const ready = new Promise<void>((resolve) =>
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          said += text;
          if (said.startsWith('ready\n')) resolve();
        }),
      );
      const ended = new Promise<string[]>((resolve) =>
        child.on('close', () => resolve(said.trim().split('\n').slice(1))),
      );
      return { child, ready, ended };
    });
    await Promise.all(processes.map(({ ready }) => ready));
    for (const { child } of processes) child.stdin.write('go\n');
    const [one, other] = await Promise.all(processes.map(({ ended }) => ended));
    expect(one).to.have.length(ids.length);
    expect(one).to.deep.equal(other);
    expect(new Set(one)).to.not.include('undefined');
  });

  it('as many as there may be are kept, and none more', async () => {
    const fates = new DirectoryFates(directory);
    const id = randomUUID();
    await fates.accept(id);
    const full = new MemoryFates(1);
    await full.accept(id);
    const error = await full.accept(randomUUID()).catch((thrown: Error) => thrown);
    expect(error)
      .to.be.instanceOf(MigrationError)
      .with.property('message')
      .that.matches(/none of them can be forgotten yet/);
    expect(await full.decide(id, 'started')).to.equal('started');
    writeFileSync(join(directory, 'other'), '');
    const small = await new DirectoryFates(directory, 2).accept(randomUUID()).catch((thrown: Error) => thrown);
    expect(small).to.be.instanceOf(MigrationError);
    expect(await fates.decide(id, 'never')).to.equal('never');
  });
});
