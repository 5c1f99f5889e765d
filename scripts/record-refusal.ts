/**
 * Records what the lesson on suspend shows of a guest that refuses: `node --import tsx scripts/record-refusal.ts`. Linux 6.1, with the driver that
 * comes with it, is asked to sleep while a share is mounted.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Vm } from '../harness/node/vm.ts';

const LESSON = join(import.meta.dirname, '../web/course/suspend.md');
const BLOCK = /(?<=^```console\n).*?(?=^```$)/ms;
const COMMANDS = [
  'uname -r',
  'grep virtiofs /proc/mounts',
  'echo devices > /sys/power/pm_test',
  'echo freeze > /sys/power/state',
  "dmesg | grep -i 'virtio.fs' | sed 's/^.*] //'",
];

/** What the guest's console would show, lines with ends. */
export async function recordRefusal(): Promise<string> {
  const vm = await Vm.boot({ kernel: 'stock', driver: 'stock', shares: [{ tag: 'share' }] });
  try {
    await vm.mount('share');
    let text = '';
    for (const command of COMMANDS) {
      const { stdout, stderr } = await vm.exec(command);
      text += `# ${command}\n${stdout}${stderr}`;
    }
    return text;
  } finally {
    await vm.stop();
  }
}

/** What the lesson shows. */
export async function recordedRefusal(): Promise<string> {
  return BLOCK.exec(await readFile(LESSON, 'utf8'))![0];
}

if (process.argv[1] === import.meta.filename) {
  const text = await recordRefusal();
  await writeFile(
    LESSON,
    (await readFile(LESSON, 'utf8')).replace(BLOCK, () => text),
  );
}
