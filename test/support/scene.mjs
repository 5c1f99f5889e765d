// A guest in the middle of everything that a freeze must not lose: set up in Node, gone on with in Node and in pages.
// Plain JavaScript, because pages load it as it is.

const KINDS = ['posix', 'ofd', 'flock'];
/** Of an inode in a range of the filesystem's state: 13 words. */
const INODE_BYTES = 52;
const CHAPTERS = 200;
const CALCULATION = ['cpu', '200000'];

/** Collects what a process says, and waits for it. */
class Listener {
  text = '';

  constructor(process) {
    this.process = process;
    process.onStdout = (data) => {
      this.text += new TextDecoder().decode(data);
    };
  }

  async until(pattern) {
    for (const end = Date.now() + 60_000; !pattern.test(this.text); ) {
      if (Date.now() > end) throw new Error(`expected ${pattern}, found ${this.text}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.text;
  }
}

const text = (bytes) => new TextDecoder().decode(bytes);

/**
 * Brings a guest, whose share is mounted at /mnt/share, into the middle of things. Returns what {@link goOn} needs: plain data.
 *
 * @param {import('../../harness/machine/agent/guest-agent.ts').GuestAgent} agent
 * @returns {Promise<Record<string, any>>}
 */
export async function setUp(agent) {
  const sh = async (command) => {
    const { stdout, stderr, code } = await agent.exec(command, { cwd: '/mnt/share' });
    if (code) throw new Error(`${command}: ${text(stderr)}`);
    return text(stdout);
  };
  await sh(
    `head -c 50000 /dev/zero > book; mkdir chapters; cd chapters; n=0; while [ $n -lt ${CHAPTERS} ]; do : > a-chapter-with-a-long-name-$n; n=$((n+1)); done`,
  );
  const started = async (args, pattern) => {
    const process = agent.spawn(args, { cwd: '/mnt/share' });
    await new Listener(process).until(pattern);
    return process;
  };
  const held = {};
  const waiting = {};
  let pid;
  for (const kind of KINDS) {
    const holder = await started(['locker', kind, `lock-${kind}`], /locked/);
    held[kind] = holder.id;
    if (kind === 'posix') pid = holder.pid;
    waiting[kind] = agent.spawn(['locker', kind, `lock-${kind}`], { cwd: '/mnt/share' }).id;
  }
  // Two that will want what the other has: one asks now, the other after the restore.
  const first = agent.spawn(['locker', 'posix', 'one', 'wait', 'two'], { cwd: '/mnt/share' });
  const listener = new Listener(first);
  await listener.until(/locked/);
  const { id: second } = await started(['locker', 'posix', 'two', 'wait', 'one'], /locked/);
  await first.write('\n');
  await listener.until(/asking/);
  const holder = agent.spawn(['holder', '/mnt/share']);
  const told = await new Listener(holder).until(/ready/);
  // When this has ended the waiting ones wait; then the calculation has begun.
  await agent.exec(['sleep', '0.3']);
  // The holder's first read has not come as far as to these.
  await sh('rm chapters/a-chapter-with-a-long-name-198; : > chapters/early');
  const calculation = agent.spawn(CALCULATION).id;
  await agent.exec(['true']);
  return {
    held,
    waiting,
    pid,
    first: first.id,
    second,
    holder: holder.id,
    read: told.match(/^entry .*$/gm),
    calculation,
  };
}

/**
 * Goes on with the guest of {@link setUp} that was frozen and restored, and checks all of it.
 *
 * @param {import('../../harness/machine/agent/guest-agent.ts').GuestAgent} agent
 * @param {Record<string, any>} scene
 * @param {import('../../device/index.ts').VirtioFsDevice<import('../../device/index.ts').FileSystem>} device Of the share.
 * @param {{ calculated: string, negotiated: string }} expected As {@link expectations} had it when nothing was in the way.
 * @returns {Promise<string[]>} What is not as it should be.
 */
export async function goOn(agent, scene, device, expected) {
  const wrong = [];
  const readFile = (path) => device.volume.readFileSync(path);
  const check = (isRight, what) => void (isRight || wrong.push(what));
  // First of all, because a process that has ended is not there any more.
  const calculation = agent.attach(scene.calculation);
  const calculated = new Listener(calculation);
  const run = async (args) => text((await agent.exec(args, { cwd: '/mnt/share' })).stdout);

  for (const kind of KINDS) {
    check((await run(['locker', kind, `lock-${kind}`, 'try'])).startsWith('failed'), `the ${kind} lock is free`);
    if (kind === 'posix') {
      const told = await run(['locker', 'posix', `lock-${kind}`, 'get']);
      check(told === `held by ${scene.pid}\n`, `GETLK says ${told}, the holder is ${scene.pid}`);
    }
    const waiting = agent.attach(scene.waiting[kind]);
    const listener = new Listener(waiting);
    await agent.attach(scene.held[kind]).write('\n');
    await listener.until(/locked/);
    await waiting.write('\n');
    check((await waiting.exited) === 0, `who waited for the ${kind} lock has failed`);
  }

  const second = agent.attach(scene.second);
  const seen = new Listener(second);
  await second.write('\n');
  const answer = await seen.until(/second .*\n/);
  check(/second Resource deadlock/.test(answer), `the deadlock was not seen: ${answer}`);
  const first = agent.attach(scene.first);
  const granted = new Listener(first);
  await second.write('\n');
  await granted.until(/second locked/);
  await first.write('\n');

  const holder = agent.attach(scene.holder);
  const listener = new Listener(holder);
  await agent.exec('rm chapters/a-chapter-with-a-long-name-199; : > chapters/new', { cwd: '/mnt/share' });
  await holder.write('go on\n');
  const told = await listener.until(/done\n|failed/);
  for (const line of [
    'book from 25000 bytes 25000 crc 15609749 links 1',
    'secret from 470 bytes 46530 crc 97c90fae links 0',
    'cwd /mnt/share/deep/down/in/the/tree',
    'mapped dd',
    'handle of 50000 bytes',
  ]) {
    check(told.includes(`${line}\n`), `the holder does not say ${line}: ${told.replace(/^entry .*\n/gm, '')}`);
  }
  const entries = [...scene.read, ...(told.match(/^entry .*$/gm) ?? [])];
  check(new Set(entries).size === entries.length, 'an entry was read twice');
  for (let n = 0; n < CHAPTERS - 2; n++)
    check(entries.includes(`entry a-chapter-with-a-long-name-${n}`), `chapter ${n} was not read`);
  check(!entries.some((entry) => /-19[89]$/.test(entry)), 'an entry was read that had been removed');
  await agent.exec('sync');
  check(text(readFile('/append')) === 'before after', `append holds ${text(readFile('/append'))}`);
  check(text(readFile('/named')) === 'nameless', 'the file without a name got none');
  const mapped = readFile('/mapped');
  check(
    [mapped.length, mapped[4000], mapped[4099], mapped[4100], mapped[4199], mapped[4200]].join() ===
      '8192,101,101,100,100,0',
    'the mapped page was lost',
  );

  check(
    (await calculation.exited) === 0 && (await calculated.until(/\n/)) === expected.calculated,
    `the calculation comes to ${calculated.text}, not ${expected.calculated}`,
  );
  check(
    negotiatedOf(device) === expected.negotiated,
    `what INIT settled is ${negotiatedOf(device)} now, not ${expected.negotiated}`,
  );

  // The kernel forgets all that it has looked up: not a lookup too many, or too few, has come back.
  await agent.exec('sync; echo 3 > /proc/sys/vm/drop_caches');
  const known = () => device.session.state().nodes.ino;
  for (const end = Date.now() + 20_000; known().length && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 20));
  check(!known().length, `inodes ${known()} were not forgotten`);
  const named = await run(['sh', '-c', 'find . | xargs stat -c %i | sort -u | wc -l']);
  const files = /** @type {import('../../device/index.ts').MemoryFileSystem} */ (device.filesystem);
  const kept = files.state().ranges.reduce((sum, { inodes }) => sum + inodes.length / INODE_BYTES, 0);
  check(Number(named) === kept, `${kept} inodes are kept, ${named} have names`);
  return wrong;
}

/** What must be the same after the freeze. */
export async function expectations(agent, device) {
  return { calculated: text((await agent.exec(CALCULATION)).stdout), negotiated: negotiatedOf(device) };
}

function negotiatedOf({ session: { negotiated } }) {
  return Object.entries(negotiated ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(' ');
}
