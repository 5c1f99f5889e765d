import { expect } from 'chai';
import { forwardChanges } from '../../harness/machine/forward-changes.ts';
import { useGuest } from '../support/guest.ts';

describe('changes of the host, for those in the guest who wait with inotify', () => {
  const guest = useGuest();

  /** Resolves once the guest's inotify has told of `line` for a file or directory, after `act`; it may tell of more. */
  async function heard(path: string, line: RegExp, act: () => void): Promise<void> {
    const watcher = guest.vm.spawn(['watcher', path], { cwd: guest.vm.share().mountPoint });
    let log = '';
    let came = () => {};
    watcher.onStdout = (data) => {
      log += Buffer.from(data).toString();
      came();
    };
    const told = (wanted: RegExp) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`Nothing like ${wanted} in ${JSON.stringify(log)}`)), 30_000);
        came = () => {
          if (!wanted.test(log)) return;
          clearTimeout(timer);
          resolve();
        };
        came();
      });
    try {
      await told(/^watching$/m);
      act();
      await told(line);
    } finally {
      watcher.kill();
      await watcher.exited;
    }
  }

  it('are told, of files and in their directories', async () => {
    const { fs } = guest.vm.share();
    fs.mkdirSync('/src');
    fs.writeFileSync('/src/main.js', 'one');
    await guest.sh('cat src/main.js');
    const stop = forwardChanges(guest.vm);
    try {
      await heard('src/main.js', /^src\/main\.js attrib$/m, () => fs.writeFileSync('/src/main.js', 'two'));
      await heard('src', /^src\/new\.js attrib$/m, () => fs.writeFileSync('/src/new.js', 'new'));
    } finally {
      stop();
    }
  });

  it('change no content, no permissions and no time of modification', async () => {
    const { fs } = guest.vm.share();
    const stop = forwardChanges(guest.vm);
    try {
      fs.writeFileSync('/kept', 'content');
      fs.utimesSync('/kept', 1000, 2000);
      await heard('kept', /^kept attrib$/m, () => fs.chmodSync('/kept', 0o4750));
      expect(fs.statSync('/kept').mode & 0o7777).to.equal(0o4750);
      expect(fs.statSync('/kept').mtimeMs).to.equal(2_000_000);
      expect(fs.readFileSync('/kept', 'utf8')).to.equal('content');
      fs.writeFileSync('/kept', 'more');
      await heard('.', /^\. attrib$/m, () => fs.unlinkSync('/kept'));
    } finally {
      stop();
    }
  });

  it('leave the permissions that the host or the guest gives meanwhile', async () => {
    const { fs } = guest.vm.share();
    const stop = forwardChanges(guest.vm);
    const { exec } = guest.vm;
    try {
      for (const [mode, isGuest] of [0o600, 0o640, 0o4750, 0o711].flatMap((mode) => [
        [mode, false] as const,
        [mode ^ 1, true] as const,
      ])) {
        const told = new Promise<void>((resolve) => {
          guest.vm.exec = async (command, options) => {
            guest.vm.exec = exec;
            // Between what the forwarding has seen and what the guest does.
            if (isGuest) await exec.call(guest.vm, ['chmod', mode.toString(8), `${guest.vm.share().mountPoint}/busy`]);
            else fs.chmodSync('/busy', mode);
            return await guest.vm.exec(command, options).finally(() => setTimeout(resolve));
          };
        });
        fs.writeFileSync('/busy', mode.toString(8));
        await told;
        expect((fs.statSync('/busy').mode & 0o7777).toString(8)).to.equal(mode.toString(8));
      }
    } finally {
      stop();
      guest.vm.exec = exec;
    }
  });

  it("leave the guest's own changes to the guest", async () => {
    const { fs } = guest.vm.share();
    const stop = forwardChanges(guest.vm);
    const { exec } = guest.vm;
    const told: string[] = [];
    try {
      await guest.sh('mkdir own; echo 1 > own/file; chmod 600 own/file; mv own/file own/other');
      await new Promise<void>((resolve) => {
        guest.vm.exec = async (command, options) => {
          told.push(...command.slice(3));
          return await exec.call(guest.vm, command, options).finally(() => told.length > 1 && setTimeout(resolve));
        };
        fs.writeFileSync('/theirs', '');
      });
      expect(told.map((path) => path.split('/').slice(3).join('/')).sort()).to.deep.equal(['', 'theirs']);
    } finally {
      stop();
      guest.vm.exec = exec;
    }
  });

  it('come to rest: forwarding is not forwarded', async () => {
    const stop = forwardChanges(guest.vm);
    try {
      guest.vm.share().fs.writeFileSync('/once', '1');
      const times: number[] = [];
      for (let n = 0; n < 3; n++) {
        await guest.sh('sleep 1');
        times.push(guest.vm.share().fs.statSync('/once').ctimeMs);
      }
      expect(times[2]).to.equal(times[1]);
    } finally {
      stop();
    }
  });
});
