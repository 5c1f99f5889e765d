import {
  answered,
  done,
  holdOff,
  holdOn,
  type Lesson,
  opcodesOf,
  README,
  soFar,
  statisticsOf,
  waitingOf,
} from './lesson.ts';

const FILE = 'README.txt';
const NOTE = 'note.txt';
/** More than a queue has room for. */
const CROWD = 1100;

const cat: Lesson = {
  id: 'cat',
  title: 'What happens on cat',
  about: 'A command that reads a file becomes a handful of FUSE requests, and fewer when it is run again.',
  files: { [FILE]: README },
  steps: [
    {
      title: 'Read a file that the guest knows nothing of',
      text: 'The first command empties the guest’s caches, so that it has to ask for everything.',
      command: (directory) => `echo 3 > /proc/sys/vm/drop_caches; cat ${directory}/${FILE}`,
      look(scene) {
        const [lookup] = answered(scene, 'LOOKUP', FILE);
        const [open] = answered(scene, 'OPEN', FILE);
        if (!lookup || !open || !answered(scene, 'READ', FILE).length || !answered(scene, 'RELEASE', FILE).length)
          return undefined;
        const own = scene.requests.filter(({ number, opcode }) => number >= lookup.number && opcode !== 'FORGET');
        return done(`${opcodesOf(own)}. LOOKUP turned the name into node ${open.nodeid}, which the others are about.`);
      },
    },
    {
      title: 'Read it again',
      text: 'The guest keeps names, attributes and content until the device says that they have changed. With Linux’ own driver, which is not told, it asks again after a second.',
      command: (directory) => `cat ${directory}/${FILE}`,
      look(scene) {
        const open = answered(scene, 'OPEN', FILE).at(-1);
        if (!open || !answered(scene, 'RELEASE', FILE).some(({ number }) => number > open.number)) return undefined;
        const since = scene.requests.filter(({ number }) => number >= open.number);
        if (since.some(({ opcode }) => opcode === 'READ')) return soFar('It was read once more: try again.');
        return done(`${opcodesOf(since)}, and no READ: the content came out of the guest’s page cache.`);
      },
    },
    {
      title: 'List the directory',
      text: 'ls -l wants the attributes of every file. It does not ask for them one by one.',
      command: (directory) => `ls -l ${directory}`,
      look(scene) {
        const list = answered(scene, 'READDIRPLUS');
        if (!list.length || !answered(scene, 'RELEASEDIR').length) return undefined;
        return done(`${opcodesOf(scene.requests)}. READDIRPLUS brought each name with its attributes.`);
      },
    },
  ],
};

const caches: Lesson = {
  id: 'caches',
  title: 'A file that changes from outside',
  about: 'The host changes a file behind the guest’s back. When does the guest see it?',
  files: {},
  others: [NOTE],
  steps: [
    {
      title: 'Make a file on this side',
      text: 'In Files, make note.txt in the lesson’s folder, and write a line into it.',
      act: ({ guest, path }) => guest.api.folder.save(`${path}/${NOTE}`, new TextEncoder().encode('one\n')),
      async look({ guest, path }) {
        const file = await guest.api.folder.stat(`${path}/${NOTE}`);
        return file?.size
          ? done(`note.txt has ${file.size} bytes, node ${file.ino}. The guest does not know it yet.`)
          : undefined;
      },
    },
    {
      title: 'Read it in the guest',
      text: 'It looks the name up, and reads.',
      command: (directory) => `cat ${directory}/${NOTE}`,
      async look(scene) {
        const { version } = (await scene.guest.api.folder.stat(`${scene.path}/${NOTE}`)) ?? { version: '' };
        scene.notes.set('version', version);
        return answered(scene, 'READ', NOTE).length && answered(scene, 'RELEASE', NOTE).length
          ? done(`${opcodesOf(scene.requests)}.`)
          : undefined;
      },
    },
    {
      title: 'Change it on this side',
      text: 'In Files, add a line, and save. The guest knows the file, so the device puts a notification into a buffer of its second queue, if the driver takes notifications. Linux’ own does not.',
      act: ({ guest, path }) => guest.api.folder.save(`${path}/${NOTE}`, new TextEncoder().encode('one\nand two\n')),
      async look({ guest, notes, path }) {
        const file = await guest.api.folder.stat(`${path}/${NOTE}`);
        return file && file.version !== notes.get('version') ? done(`note.txt has ${file.size} bytes now.`) : undefined;
      },
    },
    {
      title: 'Read it again in the guest',
      text: 'A guest that was told asks for attributes, and sees another time and size. One that was not may show the old text for up to a second.',
      command: (directory) => `cat ${directory}/${NOTE}`,
      look(scene) {
        if (!answered(scene, 'RELEASE', NOTE).length) return undefined;
        if (!answered(scene, 'READ', NOTE).length)
          return soFar('No READ yet: the guest has the old text in its cache. Try again.');
        return done(`${opcodesOf(scene.requests)}. It threw its pages away, and asked for new ones.`);
      },
    },
    {
      title: 'See time go by',
      text: 'Three times the size of a file: the second comes at once, the third two seconds later. Then the file is read.',
      command: (directory) =>
        `for pause in 0 0 2; do sleep $pause; stat -c %s ${directory}/${NOTE}; done; cat ${directory}/${NOTE}`,
      look(scene) {
        if (!answered(scene, 'RELEASE', NOTE).length) return undefined;
        const asked = scene.requests.filter(
          ({ opcode, about }) => ['LOOKUP', 'GETATTR'].includes(opcode) && about.includes(NOTE),
        );
        const apart = asked.length ? asked.at(-1)!.time - asked[0]!.time : 0;
        return done(
          apart < 1000
            ? `${asked.length === 1 ? '1 question' : `${asked.length} questions`} for three answers: what the guest knows it believes until it is told otherwise.`
            : `${asked.length} questions for three answers, ${(apart / 1000).toFixed(1)} s apart: what is younger than a second comes out of the cache.`,
        );
      },
    },
  ],
};

const queue: Lesson = {
  id: 'queue',
  title: 'A full queue',
  about: 'A virtqueue has room for so many requests. What happens when it is full?',
  files: {},
  steps: [
    {
      title: 'Stop the device',
      text: 'In the Inspector, under Step, pause before the next request. The guest continues.',
      act: holdOn,
      look: ({ guest }) => (guest.isHeld ? done('The device takes nothing out of its queues any more.') : undefined),
    },
    {
      title: 'Ask for too much',
      text: `${CROWD} processes ask for the attributes of the folder, at the same time. The Inspector shows the queue filling, under Queues.`,
      command: (directory) => `crowd ${CROWD} ${directory}`,
      async look(scene) {
        const { waiting, size } = await waitingOf(scene);
        if (waiting < size) return waiting ? soFar(`${waiting} of ${size} descriptors are taken.`) : undefined;
        scene.notes.set('served', String((await statisticsOf(scene)).requests));
        return done(
          `All ${size} descriptors are taken, each by one request, whose buffers are in a table of their own (INDIRECT_DESC). The driver keeps the others in a list.`,
        );
      },
    },
    {
      title: 'Let it continue',
      text: 'Continue, with the button above the terminal. The device serves what waits, and the driver adds what it kept.',
      act: holdOff,
      async look(scene) {
        if (scene.guest.isHeld) return undefined;
        const { requests, deepest } = await statisticsOf(scene);
        const served = requests - Number(scene.notes.get('served') ?? 0);
        if (served < CROWD || (await waitingOf(scene)).waiting) return soFar(`${served} of ${CROWD} are served.`);
        return done(`${served} were served, up to ${deepest} in one go. Nobody was refused, nothing was lost.`);
      },
    },
  ],
};

const step: Lesson = {
  id: 'step',
  title: 'One request, slowly',
  about: 'From the driver’s memory through virtqueue, FUSE and filesystem, and back.',
  files: { [FILE]: README },
  steps: [
    {
      title: 'Stop the device before the next request',
      text: 'In the Inspector, under Step.',
      act: holdOn,
      look: ({ guest }) => (guest.isHeld ? done('Whoever asks for something waits from now on.') : undefined),
    },
    {
      title: 'Ask for something',
      text: 'The command will not come back for now.',
      command: (directory) => `cat ${directory}/${FILE}`,
      async look({ guest }) {
        const walk = await guest.api.inspector.walk();
        return walk
          ? done(
              `${walk.opcode || 'A request'} waits in queue ${walk.queue}: its descriptors are in the guest’s memory, and the driver has kicked.`,
            )
          : undefined;
      },
    },
    {
      title: 'Serve one request',
      text: 'Under Step, continue with Next through descriptors and fields to Serve it. Each step names the section of the specification.',
      act: ({ guest }) => guest.api.inspector.serve(),
      look({ requests }) {
        const served = requests.find(({ written }) => written !== undefined);
        return served
          ? done(
              `${served.opcode} is answered: ${served.written} bytes in the guest’s memory, an entry in the used ring, an interrupt. The next request waits.`,
            )
          : undefined;
      },
    },
    {
      title: 'Let the others pass',
      text: 'Continue, with the button above the terminal.',
      act: holdOff,
      look: (scene) =>
        !scene.guest.isHeld
          ? done(
              scene.requests.length ? `${opcodesOf(scene.requests)} followed.` : 'The device serves by itself again.',
            )
          : undefined,
    },
  ],
};

export const REQUEST_LESSONS: readonly Lesson[] = [cat, step, caches, queue];
