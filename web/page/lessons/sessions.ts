import type { SessionView, SnapshotView } from '../../protocol.ts';
import { answered, done, opcodesOf, soFar, type Lesson, type Scene, type Step } from './lesson.ts';

const FILE = 'README.txt';
const MOMENT = 'in the lesson';
const NO_NAME = '(no name)';

const sessionOf = ({ guest }: Scene): Promise<SessionView> => guest.api.inspector.session();
const nameless = (session: SessionView) => session.files.find(({ path }) => path === NO_NAME);

/** The newest snapshot of the lesson's guest that somebody took since `time`. */
async function takenSince({ connection, guest }: Scene, time: number): Promise<SnapshotView | undefined> {
  const { snapshots } = await connection.worker.timeline.view();
  return snapshots.find(({ kind, created, guest: name }) => kind === 'manual' && name === guest.name && created >= time);
}

const takeSnapshot = (text: string): Step => ({
  title: 'Take a snapshot',
  text,
  act: ({ connection, guest }) => connection.worker.timeline.take(guest.id, MOMENT),
  async look(scene) {
    const snapshot = await takenSince(scene, scene.began);
    if (!snapshot) return undefined;
    scene.notes.set('snapshot', snapshot.id);
    return done(`It is in the time line; the guest stood still for ${Math.round(snapshot.standstill ?? 0)} ms.`);
  },
});

async function goBack(scene: Scene): Promise<void> {
  const id = scene.notes.get('snapshot') ?? (await takenSince(scene, 0))?.id;
  if (id === undefined) throw new Error('the snapshot is not there any more: begin the lesson anew');
  await scene.connection.worker.timeline.rewind(scene.guest.id, id);
}

const unlinked: Lesson = {
  id: 'unlinked',
  title: 'Freeze with an unlinked open file',
  about: 'A file that is deleted while it is open lives on for who has it open. It is nowhere but in the session, and still it can be frozen.',
  steps: [
    {
      title: 'Make a file without a name',
      text: 'The shell opens a file, writes to it, and deletes it.',
      command: 'exec 5<>secret.txt; echo "still here" >&5; rm secret.txt',
      async look(scene) {
        const file = nameless(await sessionOf(scene));
        return file ? done(`The session has file handle ${file.fh} of node ${file.ino}, which has no name any more.`) : undefined;
      },
    },
    takeSnapshot('In Time line. It holds the guest’s memory, the device with its session, and the folder.'),
    {
      title: 'Close the file',
      text: 'Nobody has it open then: its content is gone for ever.',
      command: 'exec 5>&-',
      async look(scene) {
        return nameless(await sessionOf(scene)) ? undefined : done(`${opcodesOf(scene.requests) || 'RELEASE'}: the node is free.`);
      },
    },
    {
      title: 'Go back',
      text: 'In Time line, rewind to the snapshot.',
      act: goBack,
      async look(scene) {
        const file = nameless(await sessionOf(scene));
        return file ? done(`File handle ${file.fh} of node ${file.ino} is there again, and its content.`) : undefined;
      },
    },
    {
      title: 'Read it',
      text: 'Through the shell’s own descriptor, which was frozen with it.',
      command: 'cat /proc/self/fd/5',
      async look(scene) {
        const file = nameless(await sessionOf(scene));
        const used = file && scene.requests.some(({ nodeid, opcode, error }) => nodeid === file.ino && ['OPEN', 'READ'].includes(opcode) && !error);
        return used ? done(`${opcodesOf(scene.requests.filter(({ nodeid }) => nodeid === file.ino))}: the guest noticed nothing.`) : undefined;
      },
    },
  ],
};

const locks: Lesson = {
  id: 'locks',
  title: 'Two guests, one lock',
  about: 'Guests that share a folder share its locks: the device keeps them, and who has to wait.',
  steps: [
    {
      title: 'Fork the guest, with the same folder',
      text: 'In Time line. The second guest goes on from this moment, beside the first.',
      act: ({ connection, guest }) => connection.fork({ guest: guest.id, folder: 'shared' }),
      look: ({ guest, second }) => (second ? done(`${guest.name} and ${second.name} have one folder.`) : undefined),
    },
    {
      title: 'Lock a file in the first',
      text: 'It holds the lock until it is told to end.',
      command: `sleep 1000 | locker flock ${FILE} &`,
      async look(scene) {
        const lock = (await sessionOf(scene)).locks.find(({ path, guest }) => path === `/${FILE}` && guest === scene.guest.name);
        return lock ? done(`${lock.guest}, pid ${lock.pid}: a ${lock.type} lock (${lock.space}) on ${lock.path}.`) : undefined;
      },
    },
    {
      title: 'Want it in the second',
      text: 'The command has to wait: the other guest has the lock.',
      command: `locker flock ${FILE} < /dev/null`,
      where: 'second',
      async look(scene) {
        const waiter = (await sessionOf(scene)).waiters.find(({ path, guest }) => path === `/${FILE}` && guest === scene.second?.name);
        return waiter ? done(`${waiter.guest} waits: its SETLKW is with the device, unanswered, in flight for as long as it takes.`) : undefined;
      },
    },
    {
      title: 'Give it back in the first',
      text: 'The first guest’s locker ends with what it reads from.',
      command: 'killall sleep',
      async look(scene) {
        const { locks: held, waiters } = await sessionOf(scene);
        if (waiters.length || held.some(({ path, guest }) => path === `/${FILE}` && guest === scene.guest.name)) return undefined;
        return done('The device answered the request that waited, in the other guest: it had the lock, and has ended.');
      },
    },
  ],
};

const ANSWER = '/suspend.txt';

const suspend: Lesson = {
  id: 'suspend',
  title: 'Why suspend was refused since 2019',
  about: 'A device that sleeps may be reset when it wakes. For a disk that is nothing; a virtio-fs device has node ids, open files and locks to lose.',
  steps: [
    {
      title: 'Ask Linux to sleep',
      text: 'Suspend to idle, as far as the devices: a test that comes back by itself, after 5 seconds if they agree. What Linux says goes into a file of the folder.',
      command: '(echo devices > /sys/power/pm_test && echo freeze > /sys/power/state && echo it slept) > suspend.txt 2>&1; cat suspend.txt',
      async look({ guest, began }) {
        const written = await guest.api.folder.stat(ANSWER);
        if (!written?.size || written.mtime < began) return undefined;
        const answer = new TextDecoder().decode((await guest.api.folder.read(ANSWER, written.size)).bytes).trim();
        if (!answer.endsWith('it slept')) return done(`“${answer}”. The driver of virtio-fs refused, for the whole machine: dmesg says “suspend/resume not yet supported”.`);
        return done('It slept. Linux 6.12 asks whether the device needs a reset at all (PCI power management, No_Soft_Reset), and this one does not. Before, and for hibernation, the driver refuses for the whole machine: “suspend/resume not yet supported”.');
      },
    },
    takeSnapshot('From outside it can be done with any driver: the device’s session is written down with the guest’s memory.'),
    {
      title: 'Break something',
      text: 'So that there is something to go back for.',
      command: `rm -r docs ${FILE}`,
      async look({ guest }) {
        return await guest.api.folder.stat(`/${FILE}`) ? undefined : done(`${FILE} is gone.`);
      },
    },
    {
      title: 'Go back',
      text: 'In Time line, rewind to the snapshot: memory, folder and session are those of that moment.',
      act: goBack,
      async look(scene) {
        if (!(await scene.guest.api.folder.stat(`/${FILE}`))) return undefined;
        const inits = scene.requests.filter(({ opcode }) => opcode === 'INIT').length;
        return done(`${FILE} is back. The driver was told nothing, and sent ${inits || 'no'} INIT: the node ids that it knows are right.`);
      },
    },
  ],
};

const nodes: Lesson = {
  id: 'nodes',
  title: 'A number for each file',
  about: 'FUSE calls files by node ids. Most servers number them anew for each mount; here they last as long as the file.',
  steps: [
    {
      title: 'See a file’s number',
      text: 'The inode number that ls shows is the node id.',
      command: 'echo 2 > /proc/sys/vm/drop_caches; echo kept > kept.txt; ls -i kept.txt',
      async look(scene) {
        const node = (await sessionOf(scene)).nodes.find(({ path }) => path === '/kept.txt');
        if (!node) return undefined;
        scene.notes.set('ino', String(node.ino));
        return done(`/kept.txt is node ${node.ino}, generation ${node.generation}.`);
      },
    },
    {
      title: 'Move it',
      text: 'Another name, in another directory.',
      command: 'mv kept.txt docs/moved.txt; ls -i docs',
      async look(scene) {
        const node = (await sessionOf(scene)).nodes.find(({ path }) => path === '/docs/moved.txt');
        return node && answered(scene, 'RENAME').length + answered(scene, 'RENAME2').length ? done(`/docs/moved.txt is node ${node.ino}.`) : undefined;
      },
    },
    {
      title: 'Unmount, and mount again',
      text: 'A new session, which has looked up nothing. Other shells have to leave the folder before.',
      command: 'cd / && umount /mnt/share && mount -t virtiofs share /mnt/share; cd /mnt/share && ls -i docs',
      async look(scene) {
        if (!answered(scene, 'INIT').length) return undefined;
        const node = (await sessionOf(scene)).nodes.find(({ path }) => path === '/docs/moved.txt');
        if (!node) return soFar('INIT: a new session. Look at the file.');
        return done(`DESTROY and INIT, and /docs/moved.txt is node ${node.ino} again: file handles (open_by_handle_at) that programs kept are good still.`);
      },
    },
  ],
};

export const SESSION_LESSONS: readonly Lesson[] = [unlinked, locks, suspend, nodes];
