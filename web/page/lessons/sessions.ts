import type { SessionView, SnapshotView } from '../../protocol.ts';
import { answered, done, type Lesson, opcodesOf, README, type Scene, type Step, soFar } from './lesson.ts';

const FILE = 'README.txt';
const MOMENT = 'in the lesson';
const NO_NAME = '(no name)';

const sessionOf = ({ guest }: Scene): Promise<SessionView> => guest.api.inspector.session();
const namelessOf = (session: SessionView) => session.files.filter(({ path }) => path === NO_NAME);

/** The lesson's own open file without a name: other programs may have some. */
async function nameless(scene: Scene): Promise<SessionView['files'][number] | undefined> {
  return namelessOf(await sessionOf(scene)).find(({ ino }) => String(ino) === scene.notes.get('ino'));
}

/** The newest snapshot of the lesson's guest that somebody took since `time`. */
async function takenSince({ connection, guest }: Scene, time: number): Promise<SnapshotView | undefined> {
  const { snapshots } = await connection.worker.timeline.view();
  return snapshots.find(
    ({ kind, created, guest: name }) => kind === 'manual' && name === guest.name && created >= time,
  );
}

const takeSnapshot = (text: string): Step => ({
  title: 'Take a snapshot',
  text,
  act: async ({ connection, guest, taken }) => {
    taken.add(await connection.worker.timeline.take(guest.id, MOMENT));
  },
  async look(scene) {
    const snapshot = await takenSince(scene, scene.began);
    if (!snapshot) return undefined;
    scene.notes.set('snapshot', snapshot.id);
    return done(`It is in the timeline; the guest was paused for ${Math.round(snapshot.standstill ?? 0)} ms.`);
  },
});

async function goBack({ connection, guest, notes }: Scene): Promise<void> {
  const { isDone, reason } = await connection.worker.timeline.rewind(guest.id, notes.get('snapshot')!);
  if (!isDone) throw new Error(`${guest.name} did not go back, because it can’t be kept as it is now: ${reason}`);
}

const unlinked: Lesson = {
  id: 'unlinked',
  title: 'Freeze with an unlinked open file',
  about:
    'A file that is deleted while it is open stays until the last process closes it. It is nowhere but in the session, and still it can be frozen.',
  files: {},
  others: ['secret.txt'],
  steps: [
    {
      title: 'Make a file without a name',
      text: 'The shell opens a file, writes to it, and deletes it.',
      command: (directory) => `exec 5<>${directory}/secret.txt; echo "still here" >&5; rm ${directory}/secret.txt`,
      async look(scene) {
        const { notes } = scene;
        const files = namelessOf(await sessionOf(scene));
        if (!notes.has('others')) notes.set('others', files.map(({ ino }) => ino).join(' '));
        const others = notes.get('others')!.split(' ');
        const file = files.find(({ ino }) => !others.includes(String(ino)));
        if (file) notes.set('ino', String(file.ino));
        return file
          ? done(`The session has file handle ${file.fh} of node ${file.ino}, which has no name any more.`)
          : undefined;
      },
    },
    takeSnapshot('In Timeline. It holds the guest’s memory, the device with its session, and the folder.'),
    {
      title: 'Close the file',
      text: 'No process has it open any more, so its content is gone for good.',
      command: () => 'exec 5>&-',
      async look(scene) {
        return (await nameless(scene))
          ? undefined
          : done(`${opcodesOf(scene.requests) || 'RELEASE'}: the node is free.`);
      },
    },
    {
      title: 'Go back',
      text: 'In Timeline, rewind to the snapshot.',
      act: goBack,
      async look(scene) {
        const file = await nameless(scene);
        return file ? done(`File handle ${file.fh} of node ${file.ino} is there again, and its content.`) : undefined;
      },
    },
    {
      title: 'Read it',
      text: 'Through the shell’s own descriptor, which was frozen with it.',
      command: () => 'cat /proc/self/fd/5',
      async look(scene) {
        const file = await nameless(scene);
        const used =
          file &&
          scene.requests.some(
            ({ nodeid, opcode, error }) => nodeid === file.ino && ['OPEN', 'READ'].includes(opcode) && !error,
          );
        return used
          ? done(`${opcodesOf(scene.requests.filter(({ nodeid }) => nodeid === file.ino))}: the guest noticed nothing.`)
          : undefined;
      },
    },
  ],
};

const locks: Lesson = {
  id: 'locks',
  title: 'Two guests, one lock',
  about: 'Guests that share a folder share its locks: the device keeps them, and who has to wait.',
  files: { [FILE]: README },
  others: ['locker.pid'],
  steps: [
    {
      title: 'Fork the guest, with the same folder',
      text: 'In Timeline. The second guest starts from this moment, beside the first.',
      act: async ({ connection, guest, opened }) => {
        opened.add((await connection.fork({ guest: guest.id, folder: 'shared' })).id);
      },
      look: ({ guest, second }) => (second ? done(`${guest.name} and ${second.name} have one folder.`) : undefined),
    },
    {
      title: 'Lock a file in the first',
      text: 'It holds the lock until you end it.',
      command: (directory) => `sleep 1000 | locker flock ${directory}/${FILE} & echo $! > ${directory}/locker.pid`,
      async look(scene) {
        const lock = (await sessionOf(scene)).locks.find(
          ({ path, guest }) => path === `${scene.path}/${FILE}` && guest === scene.guest.name,
        );
        return lock
          ? done(`${lock.guest}, pid ${lock.pid}: a ${lock.type} lock (${lock.space}) on ${lock.path}.`)
          : undefined;
      },
    },
    {
      title: 'Ask for it in the second',
      text: 'The command has to wait: the other guest has the lock.',
      command: (directory) => `locker flock ${directory}/${FILE} < /dev/null`,
      where: 'second',
      async look(scene) {
        const waiter = (await sessionOf(scene)).waiters.find(
          ({ path, guest }) => path === `${scene.path}/${FILE}` && guest === scene.second?.name,
        );
        return waiter
          ? done(`${waiter.guest} waits: its SETLKW is with the device, unanswered, in flight for as long as it takes.`)
          : undefined;
      },
    },
    {
      title: 'Release it in the first',
      text: 'A lock ends with the process that holds it.',
      command: (directory) => `kill $(cat ${directory}/locker.pid)`,
      async look(scene) {
        const { locks: held, waiters } = await sessionOf(scene);
        if (
          waiters.length ||
          held.some(({ path, guest }) => path === `${scene.path}/${FILE}` && guest === scene.guest.name)
        )
          return undefined;
        return done('The device answered the request that waited, in the other guest: it had the lock, and has ended.');
      },
    },
  ],
};

const ANSWER = 'suspend.txt';

const suspend: Lesson = {
  id: 'suspend',
  title: 'Why suspend was refused since 2019',
  about:
    'A device that sleeps may be reset when it wakes. For a disk that is nothing; a virtio-fs device has node ids, open files and locks to lose.',
  files: { [FILE]: README, 'docs/': '', 'docs/more.txt': README },
  others: [ANSWER],
  steps: [
    {
      title: 'Ask Linux to sleep',
      text: 'Suspend to idle, as far as the devices: a test that comes back by itself, after 5 seconds if they agree. What Linux says goes into a file of the folder.',
      command: (directory) =>
        `(echo devices > /sys/power/pm_test && echo freeze > /sys/power/state && echo it slept; echo none > /sys/power/pm_test) > ${directory}/${ANSWER} 2>&1; cat ${directory}/${ANSWER}`,
      async look({ guest, began, path }) {
        const written = await guest.api.folder.stat(`${path}/${ANSWER}`);
        if (!written?.size || written.mtime < began) return undefined;
        const answer = new TextDecoder().decode((await guest.api.folder.read(written.path, written.size)).bytes).trim();
        if (!answer.endsWith('it slept'))
          return done(
            `“${answer}”. The driver of virtio-fs refused, for the whole machine: dmesg says “suspend/resume not yet supported”.`,
          );
        return done(
          'It slept. Linux 6.12 asks whether the device needs a reset at all (PCI power management, No_Soft_Reset), and this one does not. Before, and for hibernation, the driver refuses for the whole machine: “suspend/resume not yet supported”.',
        );
      },
    },
    takeSnapshot(
      'From outside it can be done with any driver: the device’s session is written down with the guest’s memory.',
    ),
    {
      title: 'Break something',
      text: 'To have something to go back for.',
      command: (directory) => `rm -r ${directory}/docs ${directory}/${FILE}`,
      async look({ guest, path }) {
        return (await guest.api.folder.stat(`${path}/${FILE}`)) ? undefined : done(`${FILE} is gone.`);
      },
    },
    {
      title: 'Go back',
      text: 'In Timeline, rewind to the snapshot: memory, folder and session are those of that moment.',
      act: goBack,
      async look(scene) {
        if (!(await scene.guest.api.folder.stat(`${scene.path}/${FILE}`))) return undefined;
        const inits = scene.requests.filter(({ opcode }) => opcode === 'INIT').length;
        return done(
          `${FILE} is back. The driver was told nothing, and sent ${inits || 'no'} INIT: the node ids that it knows are right.`,
        );
      },
    },
  ],
};

const nodes: Lesson = {
  id: 'nodes',
  title: 'A number for each file',
  about:
    'FUSE calls files by node ids. Most servers give a file a new one whenever it is looked up again; here it lasts as long as the file.',
  files: { 'docs/': '' },
  others: ['kept.txt', 'docs/moved.txt'],
  steps: [
    {
      title: 'See a file’s number',
      text: 'The inode number that ls shows is the node id.',
      command: (directory) => `echo kept > ${directory}/kept.txt; ls -i ${directory}/kept.txt`,
      async look(scene) {
        const ino = await numberOf(scene, 'kept.txt');
        if (ino === undefined || !answered(scene, 'RELEASE', 'kept.txt').length) return undefined;
        scene.notes.set('ino', String(ino));
        return done(`kept.txt is node ${ino}.`);
      },
    },
    {
      title: 'Move it',
      text: 'Another name, in another directory.',
      command: (directory) => `mv ${directory}/kept.txt ${directory}/docs/moved.txt; ls -i ${directory}/docs`,
      async look(scene) {
        const ino = await numberOf(scene, 'docs/moved.txt');
        return ino !== undefined && answered(scene, 'RENAME').length + answered(scene, 'RENAME2').length
          ? done(`docs/moved.txt is node ${ino}.`)
          : undefined;
      },
    },
    {
      title: 'Let the guest forget it',
      text: 'It drops the names that it knows, and gives their node ids back: those that were used lately the second time it is told. Then it looks the file up again.',
      command: (directory) => `for time in 1 2; do echo 2 > /proc/sys/vm/drop_caches; done; ls -i ${directory}/docs`,
      async look(scene) {
        const ino = await numberOf(scene, 'docs/moved.txt');
        const forgot = scene.requests.find(
          ({ opcode, nodeid }) => opcode === 'BATCH_FORGET' || (opcode === 'FORGET' && nodeid === ino),
        );
        if (!forgot) return undefined;
        if (!answered(scene, 'READDIRPLUS').some(({ number }) => number > forgot.number))
          return soFar('FORGET: the guest does not know the file any more. Look at it.');
        return done(
          `After FORGET, docs/moved.txt is node ${ino} again: file handles (open_by_handle_at) that programs kept are good still, also after another mount.`,
        );
      },
    },
  ],
};

async function numberOf({ guest, path }: Scene, name: string): Promise<number | undefined> {
  return (await guest.api.folder.stat(`${path}/${name}`))?.ino;
}

export const SESSION_LESSONS: readonly Lesson[] = [unlinked, locks, suspend, nodes];
