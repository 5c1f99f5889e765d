import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { readPatches } from '../../guest-images/driver-patches.ts';
import { SOURCES } from '../../guest-images/paths.ts';

const DRIVER = join(SOURCES, 'driver');

describe('the patches of the driver', () => {
  it('are in the folder of the kernel that they are for', async () => {
    expect((await readdir(DRIVER)).sort()).to.deep.equal(['6.1', '6.12', 'COPYING']);
  });

  for (const series of ['6.1', '6.12'] as const) {
    it(`are a series for ${series}, each with its number, its subject and its reason`, async () => {
      const patches = await readPatches(series);
      patches.forEach(({ content, path }, index) => {
        expect(content, path).to.match(
          new RegExp(
            `^Subject: \\[PATCH ${`${index + 1}`.padStart(`${patches.length}`.length, '0')}/${patches.length}\\] (virtiofs|fuse): `,
            'm',
          ),
        );
        expect(content.indexOf('\n---\n') - content.indexOf('\n\n'), path).to.be.above(100);
      });
    });
  }
});
