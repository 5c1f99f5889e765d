import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import type { Sample } from '../support/soak-process.ts';

/** For how long, in minutes: 60 for an hour. And what random choices it begins with. */
const MINUTES = Number(process.env['V86_VIRTIOFS_SOAK_MINUTES'] ?? 10);
const SEED = process.env['V86_VIRTIOFS_SOAK_SEED'] ?? String(Math.floor(Math.random() * 1e6));
/** Rounds that fill caches: the store's, of 64 MiB, and compiled code. As many follow, however long that takes on a busy machine. */
const WARMING = 15;
const PROCESS = new URL('../support/soak-process.ts', import.meta.url).pathname;

/**
 * By how much the median of the last third may be above that of the first one. Measured in ten minutes (45 rounds) and in 55 (74
 * rounds on a busy machine): heap 43.1 to 43.2 MiB, buffers 134 to 134 (130 to 138 in single rounds), RSS 689 to 693 (623 to 701), the guest's memory
 * 26.8 to 26.9, files 13 to 11 (7 to 17), and all that is counted the same to one. Buffers and RSS go up and down with the
 * store's cache, and with memories of machines that the collector has not given back.
 */
const TOLERANCES: Record<keyof Sample, number> = {
  heap: 1,
  buffers: 16,
  rss: 64,
  guestMemory: 2,
  descriptors: 0,
  resources: 1,
  objects: 2,
  listeners: 0,
  files: 10,
  kept: 0,
  processes: 0,
};

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!;
}

describe(`guests at work for ${MINUTES} minutes, with freezes, rewinds, forks and migrations (seed ${SEED})`, function () {
  this.timeout(MINUTES * 60_000 + 3_600_000);
  const directory = mkdtempSync(join(tmpdir(), 'soak-'));
  after(() => rmSync(directory, { recursive: true }));

  it('take no more in the end than in the beginning', async () => {
    const child = spawn(
      process.execPath,
      [
        '--expose-gc',
        '--no-warnings',
        '--import',
        'tsx',
        PROCESS,
        directory,
        `${MINUTES * 60_000}`,
        `${2 * WARMING}`,
        SEED,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    after(() => child.kill('SIGKILL'));
    const samples: Sample[] = [];
    for await (const line of createInterface(child.stdout)) samples.push(JSON.parse(line) as Sample);
    expect(child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve)))).to.equal(0);
    const warm = samples.slice(Math.max(WARMING, samples.length >> 2));
    const third = Math.floor(warm.length / 3);
    const rows = (Object.keys(TOLERANCES) as (keyof Sample)[]).map((what) => {
      const of = (part: Sample[]) => median(part.map((sample) => sample[what]));
      return { what, early: of(warm.slice(0, third)), late: of(warm.slice(-third)) };
    });
    const told = rows.map(({ what, early, late }) => `${what} ${early.toFixed(1)} → ${late.toFixed(1)}`).join(', ');
    console.log(`      ${samples.length} rounds: ${told}`);
    for (const { what, early, late } of rows) expect(late - early, `${what}: ${told}`).to.be.at.most(TOLERANCES[what]);
  });
});
