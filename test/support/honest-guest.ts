import { expect } from 'chai';
import type { GuestProcess } from '../../harness/machine/agent/guest-agent.ts';
import type { Vm } from '../../harness/node/vm.ts';
import { randomNumbers } from './hostile-driver.ts';

type HostFs = ReturnType<Vm['share']>['fs'];

/**
 * In the guest, over and over: says what `f` has, whether there is a `g`, a `d/h` and an executable `x`, what the link `l` leads to, and what the file has that
 * is open all the time. Built into the shell, so that nothing but these system calls lies between two reports.
 */
const LOOP = `exec 9<o
while :; do
  read -r a <f || a=none
  [ -e g ] && b=g || b=-
  [ -e d/h ] && c=h || c=-
  [ -x x ] && e=x || e=-
  read -r l <l || l=none
  [ -s o ] && s=s || s=-
  echo "$a $b $c $e $l $s" >/mnt/log/report
done 2>/dev/null`;

/** The host's changes, each of which changes what is reported. */
const EDITS: Record<string, (fs: HostFs, random: (below: number) => number) => void> = {
  'writes f': (fs, random) => fs.writeFileSync('/f', `${1e6 + random(9e6)}\n`),
  'writes in f': (fs, random) => {
    if (!fs.existsSync('/f')) return;
    const fd = fs.openSync('/f', 'r+');
    fs.writeSync(fd, `${1e6 + random(9e6)}\n`, 0);
    fs.closeSync(fd);
  },
  'replaces f': (fs, random) => {
    fs.writeFileSync('/f.new', `${1e6 + random(9e6)}\n`);
    fs.renameSync('/f.new', '/f');
  },
  'removes f': (fs) => fs.rmSync('/f', { force: true }),
  'makes g': (fs) => fs.writeFileSync('/g', ''),
  'removes g': (fs) => fs.rmSync('/g', { force: true }),
  'links g': (fs) => {
    fs.rmSync('/g', { force: true });
    fs.linkSync('/x', '/g');
  },
  'makes d/h': (fs) => fs.existsSync('/d') && fs.writeFileSync('/d/h', ''),
  'moves d away': (fs) => fs.existsSync('/d') && fs.renameSync('/d', '/e'),
  'moves d back': (fs) => fs.existsSync('/e') && fs.renameSync('/e', '/d'),
  'removes d/h': (fs) => fs.rmSync('/d/h', { force: true }),
  'makes x executable': (fs) => fs.chmodSync('/x', 0o755),
  'makes x readable': (fs) => fs.chmodSync('/x', 0o644),
  'leads l elsewhere': (fs, random) => {
    fs.rmSync('/l', { force: true });
    fs.symlinkSync(random(2) ? 'f' : 'one', '/l');
  },
  'makes o longer': (fs) => fs.writeFileSync('/o', 'o'),
  'truncates o': (fs) => fs.truncateSync('/o', 0),
};

/** What a report should say. */
function expected(fs: HostFs): string {
  const line = (path: string) => {
    try {
      return (fs.readFileSync(path, 'utf8') as string).trim();
    } catch {
      return 'none';
    }
  };
  const is = (path: string, mark: string) => (fs.existsSync(path) ? mark : '-');
  const isExecutable = (Number(fs.statSync('/x').mode) & 0o111) !== 0;
  const isFilled = Number(fs.statSync('/o').size) > 0;
  return `${line('/f')} ${is('/g', 'g')} ${is('/d/h', 'h')} ${isExecutable ? 'x' : '-'} ${line('/l')} ${isFilled ? 's' : '-'}`;
}

/** A guest with the shares `share` and `log` mounted that reports what it sees all the time. */
export class HonestGuest {
  readonly #vm: Vm;
  readonly #process: GuestProcess;
  readonly #reports: string[] = [];
  readonly #unwatch: () => void;
  #onReport = () => {};

  private constructor(vm: Vm) {
    this.#vm = vm;
    const log = vm.share('log');
    this.#unwatch = log.files.watch!({
      entryChanged: () => {},
      everythingChanged: () => {},
      inodeChanged: (_inode, content) => {
        const report = content && log.fs.existsSync('/report') && (log.fs.readFileSync('/report', 'utf8') as string);
        if (!report) return;
        this.#reports.push(report.trim());
        this.#onReport();
      },
    });
    this.#process = vm.spawn(['/bin/sh', '-c', LOOP], { cwd: '/mnt/share' });
  }

  /** Makes the files, and begins. */
  static async start(vm: Vm): Promise<HonestGuest> {
    const { fs } = vm.share('share');
    fs.mkdirSync('/d');
    for (const name of ['f', 'one', 'x', 'o']) fs.writeFileSync(`/${name}`, `${name}\n`);
    fs.symlinkSync('f', '/l');
    const guest = new HonestGuest(vm);
    await guest.sees('in the beginning');
    return guest;
  }

  async sees(what: string): Promise<void> {
    const [report, truth] = await this.#look();
    expect(report, what).to.equal(truth);
  }

  /** As many random changes of the host's, each seen. */
  async seesEdits(count: number, seed: number): Promise<void> {
    for (const [n, name] of this.#edits(count, seed)) await this.sees(`${n}: the host ${name} (seed ${seed})`);
  }

  /** How many of as many random changes of the host's are seen. */
  async countsEdits(count: number, seed: number): Promise<number> {
    let seen = 0;
    for (const _ of this.#edits(count, seed)) {
      const [report, truth] = await this.#look();
      if (report === truth) seen++;
    }
    return seen;
  }

  *#edits(count: number, seed: number): Generator<[number, string]> {
    const random = randomNumbers(seed);
    const names = Object.keys(EDITS);
    const { fs } = this.#vm.share('share');
    for (let n = 0; n < count; n++) {
      const name = names[random(names.length)]!;
      EDITS[name]!(fs, random);
      yield [n, name];
    }
  }

  /**
   * What the guest says, and what it should. Two reports are waited for: of the first, the guest may have made some system calls before. Nothing but the
   * guest's own work is waited for.
   */
  async #look(): Promise<[string, string]> {
    const truth = expected(this.#vm.share('share').fs);
    const from = this.#reports.length;
    while (this.#reports.length < from + 2) await new Promise<void>((resolve) => (this.#onReport = resolve));
    return [this.#reports[from + 1]!, truth];
  }

  async stop(): Promise<void> {
    this.#unwatch();
    this.#process.kill();
    await this.#process.exited;
  }
}
