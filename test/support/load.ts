import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { randomNumbers } from './hostile-driver.ts';

/** Writes files, reads them back, lists and renames them, for ever; leaves a file `failed` when anything is not as it was. */
const TASK = `cd /mnt/share; mkdir -p t$1; cd t$1; n=0
fail() { echo "task $1 round $n: $2" >> /mnt/share/failed; exit 1; }
while :; do
  n=$((n+1)); s=$((n % 7 * 1000 + 100))
  dd if=/tmp/data of=new bs=$s count=9 2>/dev/null || fail $1 write
  dd if=/tmp/data bs=$s count=9 2>/dev/null | cmp - new || fail $1 compare
  echo $n > number; read m < number; [ "$m" = $n ] || fail $1 "read $m"
  mv new old || fail $1 rename; [ -e new ] && fail $1 "still there"
  exec 5<old; rm old; dd if=/tmp/data bs=$s count=9 2>/dev/null | cmp - /proc/self/fd/5 || fail $1 unlinked; exec 5<&-
  [ $(ls | wc -l) = 1 ] || fail $1 list
  echo $n > /tmp/progress$1
done`;
const TASKS = 4;

export interface LoadOptions {
  /** Of each machine anew, where it is a function. */
  share: Omit<ShareOptions, 'tag'> | (() => Omit<ShareOptions, 'tag'>);
  /** How many times it is frozen and restored. */
  rounds: number;
  seed: number;
}

/**
 * Freezes a guest at random moments while several tasks do I/O that they verify, and restores it each
 * time: now and then into a new machine, mostly into the same, now and then to an older moment.
 */
export async function freezeUnderLoad({ share, rounds, seed }: LoadOptions): Promise<void> {
  const random = randomNumbers(seed);
  const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
  const shares = () => [{ tag: 'share', ...(typeof share === 'function' ? share() : share) }];
  let vm = await Vm.boot({ shares: shares() });
  const errors: Error[] = [];
  const listen = () => {
    vm.share().device.transport.onError((error) => errors.push(error));
    vm.share().device.session.onError((error) => errors.push(error as Error));
  };
  try {
    listen();
    await vm.mount('share');
    await vm.exec('cat > /tmp/task; dd if=/dev/urandom of=/tmp/data bs=64k count=2 2>/dev/null', { stdin: TASK });
    for (let task = 0; task < TASKS; task++) await vm.exec(`sh /tmp/task ${task} > /dev/null 2>&1 &`);
    const ids: string[] = [];
    for (let round = 0; round < rounds; round++) {
      await new Promise((resolve) => setTimeout(resolve, 1 + random(60)));
      const { id } = await vm.freeze(store);
      ids.push(id);
      await new Promise((resolve) => setTimeout(resolve, random(30)));
      const target = random(5) ? id : ids[random(ids.length)]!;
      if (random(15) === 0) {
        const next = await Vm.thaw(store, target, { shares: shares() });
        await vm.stop();
        vm = next;
        listen();
      } else {
        await vm.thaw(store, target);
      }
      expect(errors, `round ${round}`).to.deep.equal([]);
    }
    const { stdout } = await vm.exec(
      `rm -f /tmp/progress*; while [ $(ls /tmp | grep -c progress) -lt ${TASKS} ] && [ ! -e /mnt/share/failed ]; do sleep 0.1; done
      cat /mnt/share/failed 2>/dev/null; ps | sed -n "s,.*sh /tmp/task ,,p" | sort -u | grep -c "^[0-9]"`,
      { timeoutMs: 200_000 },
    );
    expect(stdout, 'nothing failed, and every task goes on').to.equal(`${TASKS}\n`);
  } finally {
    await vm.stop();
  }
}
