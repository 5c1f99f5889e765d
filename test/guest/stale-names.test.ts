import { expect } from 'chai';
import { runShell, useGuest } from '../support/guest.ts';

const MODES = {
  never: { cache: 'never' },
  auto: { cache: 'auto' },
  always: { cache: 'always' },
  writeback: { cache: 'auto', writeback: true },
  shared: { cache: 'auto', locks: 'shared' },
} as const;

/** These modes do little else than the others. */
const ALIKE = ['always', 'shared'];

type HostFs = ReturnType<typeof useGuest>['vm']['shares'][number]['fs'];

/** What others do to a name that the guest knows: `f` holds `old`. */
const HOST: Record<string, (fs: HostFs) => void> = {
  'removes it': (fs) => fs.unlinkSync('/f'),
  'replaces it by renaming, as editors save': (fs) => {
    fs.writeFileSync('/f.new', 'new\n');
    fs.renameSync('/f.new', '/f');
  },
  'removes it and makes another': (fs) => {
    fs.unlinkSync('/f');
    fs.writeFileSync('/f', 'new\n');
  },
  'renames it away and makes another': (fs) => {
    fs.renameSync('/f', '/away');
    fs.writeFileSync('/f', 'new\n');
  },
};

/** What the guest does then, within the time for which it keeps names. Each leaves `mine` in a file. */
const GUEST: Record<string, string> = {
  'writes it anew': 'echo mine > f',
  appends: 'echo mine >> f',
  'writes in its middle': 'echo mine | dd of=f bs=1 seek=2 conv=notrunc 2>/dev/null',
  'truncates it, then appends': 'truncate -s 1 f && echo mine >> f',
  'copies over it': 'echo mine > /tmp/mine && cp /tmp/mine f',
  'renames over it': 'echo mine > g && mv g f',
  'edits it in its place': 'sed -i "s/.*/mine/" f && grep -q mine f',
};

describe('what a guest writes to a name that others have removed or replaced', () => {
  const tags = Object.keys(MODES);
  const guest = useGuest({ shares: tags.map((tag) => ({ tag, ...MODES[tag as keyof typeof MODES] })) });

  for (const tag of tags) {
    for (const [host, change] of Object.entries(HOST)) {
      it(`is there, or refused, when the host ${host} (${tag})${ALIKE.includes(tag) ? ' @long' : ''}`, async () => {
        const { fs } = guest.vm.share(tag);
        for (const [what, command] of Object.entries(GUEST)) {
          for (const name of fs.readdirSync('/') as string[]) fs.rmSync(`/${name}`, { recursive: true });
          fs.writeFileSync('/f', 'old\n');
          await runShell(guest.vm, `cd /mnt/${tag} && cat f >/dev/null && ls >/dev/null`);
          change(fs);
          const { code } = await guest.vm.exec(['/bin/sh', '-c', command], { cwd: `/mnt/${tag}` });
          await guest.vm.exec('sync');
          const files = (fs.readdirSync('/') as string[]).map((name) => fs.readFileSync(`/${name}`, 'utf8') as string);
          // Late sight may show it the file that has another name now; but what it was told is written is somewhere.
          if (code === 0)
            expect(
              files.some((text) => text.includes('mine')),
              `${what}: ${JSON.stringify(files)}`,
            ).to.equal(true);
        }
      });
    }
  }

  it('of its own file that it has deleted and has open goes on being its own', async () => {
    for (const tag of tags) {
      const command =
        'exec 3>k; echo a >&3; rm k; echo b > /proc/self/fd/3; chmod 600 /proc/self/fd/3; cat /proc/self/fd/3';
      expect((await guest.vm.exec(command, { cwd: `/mnt/${tag}` })).stdout, tag).to.equal('b\n');
    }
  });
});
