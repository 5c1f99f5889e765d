import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { attackWriteBack } from '../support/write-back-attack.ts';

describe('write-back while guest and host move directories and links', () => {
  let root: string;
  beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'attack-'))));
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  for (const seed of [2, 3, 4, 5]) {
    it(`before each step, 2,500 rounds of seed ${seed}: nothing outside changes`, () => {
      expect(attackWriteBack(root, 2500, seed).swaps).to.be.above(2500);
    });
  }

  it('in a process of its own, at any time, 2,500 rounds: nothing outside changes', async () => {
    const program = new URL('../support/write-back-swapper.ts', import.meta.url).pathname;
    const swapper = spawn(process.execPath, ['--import', 'tsx', program, root], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await new Promise((ready) => swapper.stdout.once('data', ready));
      expect(attackWriteBack(root, 2500, 6, false).written).to.be.above(500);
      expect(swapper.exitCode, 'it swaps to the end').to.equal(null);
    } finally {
      swapper.kill('SIGKILL');
      await new Promise((ended) => swapper.once('close', ended));
    }
  });
});
