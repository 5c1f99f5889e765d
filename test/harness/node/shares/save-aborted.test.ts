import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { filesystemOf, Volume } from '../../../../device/index.ts';
import { saveArchive } from '../../../../harness/node/shares/archive.ts';

describe('saving a share that is broken off', () => {
  for (const name of ['x.tar', 'x.tar.gz', 'x.json']) {
    it(`leaves the ${name} that was there, and nothing else`, async () => {
      const directory = mkdtempSync(join(tmpdir(), 'save-'));
      after(() => rmSync(directory, { recursive: true }));
      const path = join(directory, name);
      const volume = new Volume();
      for (let n = 0; n < 40; n++)
        volume.writeFileSync(`/f${n}`, Buffer.from(crypto.getRandomValues(new Uint8Array(65536))).toString('hex'));
      const filesystem = filesystemOf(volume);
      for (const isWhole of [true, false]) {
        const abort = new AbortController();
        const saving = saveArchive(path, filesystem, { signal: abort.signal }).catch((error: Error) => error.message);
        if (isWhole) {
          await saving;
          writeFileSync(join(directory, 'whole'), readFileSync(path));
          continue;
        }
        // As soon as some of it is on disk.
        while (!readdirSync(directory).some((file) => file.endsWith('.tmp')))
          await new Promise((resolve) => setImmediate(resolve));
        abort.abort(new Error('interrupted'));
        expect(await saving).to.match(/could not be written: interrupted/);
      }
      expect(readdirSync(directory).sort()).to.deep.equal(['whole', name]);
      expect(readFileSync(path).equals(readFileSync(join(directory, 'whole')))).to.equal(true);
    });
  }
});
