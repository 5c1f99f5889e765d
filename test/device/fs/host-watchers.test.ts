import { expect } from 'chai';
import { createFsFromVolume, Volume } from 'memfs';
import { INIT } from '../../../device/conformance/message.ts';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { checkTree } from '../../support/check-tree.ts';
import { call } from '../../support/fuse-call.ts';

const ROOT = 1;

function start(content: Record<string, string>) {
  const volume = Volume.fromJSON(content);
  const fs = createFsFromVolume(volume);
  const filesystem = filesystemOf(volume);
  const session = new FuseSession({ filesystem });
  session.notifies = true;
  call(session, 'INIT', 0, INIT);
  const lookup = (name: string, dir = ROOT) => call(session, 'LOOKUP', dir, name).out.nodeid;
  const check = () => {
    checkTree(filesystem, [session]);
    filesystem.checkState(structuredClone(filesystem.state()));
  };
  return { fs, filesystem, session, lookup, check };
}

/** Until watchers have been told. */
const told = () => new Promise((resolve) => setImmediate(resolve));

describe("the host's watchers, which may change files when they are told", () => {
  it('do so after what the guest does, and the guest is told of it', async () => {
    const { fs, session, lookup } = start({ '/in': 'x', '/out': 'one' });
    const [into, out] = [lookup('in'), lookup('out')];
    const serving: boolean[] = [];
    fs.watch('/in', () => {
      serving.push(session.isServing);
      fs.writeFileSync('/out', 'longer');
    });
    const { fh } = call(session, 'OPEN', into, { flags: 2 }).out;
    call(session, 'WRITE', into, { fh, size: 3 }, new Uint8Array(3));
    expect(fs.readFileSync('/out', 'utf8')).to.equal('one');
    await told();
    expect(serving).to.deep.equal([false]);
    expect(session.state().notices?.inodes).to.deep.equal([{ ino: out, content: true }]);
  });

  it('leave a directory whole in which the guest saves a file by renaming', async () => {
    const { fs, session, lookup, check } = start({
      '/d/1': '',
      '/d/2': '',
      '/d/kept': '',
      '/d/f': '',
      '/d/f.tmp': 'new',
    });
    const d = lookup('d');
    for (const name of ['1', '2']) call(session, 'UNLINK', d, name);
    fs.watch('/d', () => {
      if (!fs.existsSync('/d/log')) fs.writeFileSync('/d/log', '');
    });
    expect(call(session, 'RENAME', d, { newdir: d }, 'f.tmp', 'f').error).to.equal(0);
    await told();
    expect(fs.readdirSync('/d')).to.have.members(['kept', 'f', 'log']);
    expect(fs.readFileSync('/d/f', 'utf8')).to.equal('new');
    check();
  });

  it('may remove what the guest removes, renames or exchanges', async () => {
    const { fs, session, lookup, check } = start({ '/d/a': '', '/d/b': '', '/d/c': '', '/d/e': '', '/d/f': '' });
    const d = lookup('d');
    const names = ['a', 'b', 'c', 'e', 'f'];
    for (const name of names) lookup(name, d);
    fs.watch('/d', (_, name) => fs.rmSync(`/d/${String(name)}`, { force: true }));
    call(session, 'UNLINK', d, 'a');
    await told();
    check();
    call(session, 'RENAME', d, { newdir: d }, 'b', 'c');
    await told();
    check();
    call(session, 'RENAME2', d, { newdir: d, flags: 2 }, 'e', 'f');
    await told();
    check();
    expect(fs.readdirSync('/d')).to.deep.equal([]);
  });

  it('hear of everything in its order, of the host and of guests', async () => {
    const { fs, session } = start({});
    const heard: string[] = [];
    fs.watch('/', (event, name) => void heard.push(`${event} ${String(name)}`));
    fs.mkdirSync('/a');
    fs.renameSync('/a', '/b');
    call(session, 'RMDIR', ROOT, 'b');
    fs.symlinkSync('target', '/c');
    call(session, 'UNLINK', ROOT, 'c');
    expect(heard).to.deep.equal([]);
    await told();
    expect(heard).to.deep.equal(['a', 'a', 'b', 'b', 'c', 'c'].map((name) => `rename ${name}`));
  });
});
