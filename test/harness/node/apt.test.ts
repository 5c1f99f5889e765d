import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { PrivateApt } from '../../../guest-images/apt.ts';

it('a package list that apt could not have is told when a package is missing', async function () {
  this.timeout(60_000);
  const directory = await mkdtemp(join(tmpdir(), 'apt-'));
  try {
    const apt = await PrivateApt.create(directory, 'i386');
    const gone = 'http://127.0.0.1:1/gone';
    await writeFile(join(directory, 'sources.list'), `deb [trusted=yes] ${gone} ./\n`);
    await apt.update();
    const error = await apt.download(['hello:i386']).catch((thrown: Error) => thrown);
    expect(error).to.have.property('message').that.includes('Unable to locate package').and.includes(gone);
  } finally {
    await rm(directory, { recursive: true });
  }
});
