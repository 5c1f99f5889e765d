import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { withPrebuilt } from '../../../guest-images/prebuilt.ts';
import { inWorkDirectory } from '../../../guest-images/work-directory.ts';

describe('the directory in which something is built', () => {
  let place: string;
  beforeEach(async () => {
    place = await mkdtemp(join(tmpdir(), 'work-directory-'));
  });
  afterEach(() => rm(place, { recursive: true }));
  const prefix = () => join(place, 'kernel-');

  it('is there while it is built, and removed when that has ended or failed', async () => {
    const names = await inWorkDirectory(prefix(), async (work) => {
      await writeFile(join(work, 'object'), 'of many');
      return readdir(place);
    });
    expect(names).to.have.length(1);
    await inWorkDirectory(prefix(), () => Promise.reject(new Error('no compiler'))).then(
      () => expect.fail('it has to say so'),
      (error: Error) => expect(error.message).to.equal('no compiler'),
    );
    expect(await readdir(place)).to.deep.equal([]);
  });

  it('takes away what killed builds have left a day ago, and nothing else', async () => {
    const yesterday = new Date(Date.now() - 25 * 60 * 60 * 1000);
    await mkdir(join(place, 'other'));
    await writeFile(join(place, 'other/file'), 'of somebody');
    for (const name of ['kernel-aaaaaa', 'kernel-bbbbbb', 'kernel-notes', 'kernel-6.12', 'kernels-dddddd'])
      await mkdir(join(place, name));
    await writeFile(join(place, 'kernel-cccccc'), 'a file');
    await symlink('other', join(place, 'kernel-eeeeee'));
    for (const name of await readdir(place))
      if (name !== 'kernel-bbbbbb') await utimes(join(place, name), yesterday, yesterday);
    await inWorkDirectory(prefix(), () => Promise.resolve());
    expect(await readdir(place)).to.have.members([
      'kernel-6.12',
      'kernel-bbbbbb',
      'kernel-cccccc',
      'kernel-eeeeee',
      'kernel-notes',
      'kernels-dddddd',
      'other',
    ]);
    expect(await readdir(join(place, 'other'))).to.deep.equal(['file']);
  });

  it('leaves what others have in the directory for temporary files', async () => {
    const before = process.env['TMPDIR'];
    process.env['TMPDIR'] = place;
    try {
      for (const name of ['prebuilt-kernel', 'v86-virtiofs-prebuilt-aaaaaa']) {
        await mkdir(join(place, name));
        await utimes(join(place, name), 1e9, 1e9);
      }
      const none = withPrebuilt(join(place, 'none.tar'), { onProgress: () => {} }, () => Promise.resolve());
      expect(await none.catch((error: Error) => error)).to.be.instanceOf(Error);
      expect(await readdir(place)).to.deep.equal(['prebuilt-kernel']);
    } finally {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
    }
  });
});
