/**
 * Changes a store at random, beside others who do, until it is killed. Tells `+ID` when a snapshot is stored, `-ID`
 * before it is removed, and `!TEXT` when something is not as it should be.
 */
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { MissingChunkError } from '../../device/snapshot/errors.ts';
import { openFiles } from '../../harness/node/stores/open-files.ts';
import { contentOf, smallSnapshot } from './small-snapshots.ts';

/** Of which snapshots are made, so that all processes share them. */
const CONTENTS = 24;
const MAX_SNAPSHOTS = 20;

const tell = (line: string) => process.stdout.write(`${line}\n`);
const below = (count: number) => Math.floor(Math.random() * count);
const store = await SnapshotStore.open(openFiles(process.argv[2]!), loadCodec());
tell('ready');

const someId = () => {
  const all = store.list();
  return all[below(all.length)]?.id;
};
const isThere = async (id: string) => {
  await store.refresh();
  return store.list().some((info) => info.id === id);
};

/** As a machine does: what seems to be there is built on. */
async function add(): Promise<void> {
  const { frozen, chunks } = smallSnapshot(
    store,
    `${process.pid}`,
    Array.from({ length: 1 + below(4) }, () => contentOf(below(CONTENTS))),
  );
  const fresh = new Map([...chunks].filter(([name]) => !store.has(name)));
  const id = await store.add(frozen, fresh).catch((error: Error) => {
    if (!(error instanceof MissingChunkError)) throw error;
    return store.add(frozen, chunks);
  });
  tell(`+${id}`);
}

const actions: (() => Promise<unknown>)[] = [
  add,
  add,
  add,
  async () => {
    const id = someId();
    if (!id || store.list().length < 3) return;
    tell(`-${id}`);
    await store.remove(id);
  },
  async () => {
    const id = someId();
    if (id) await store.rename(id, `renamed by ${process.pid}`);
  },
  () => store.gc(),
  async () => {
    const id = someId();
    if (id) await store.verify(id);
  },
  async () => {
    const id = someId();
    if (id) tell(`+${await store.import(Buffer.concat(await store.export(id)))}`);
  },
];

for (;;) {
  const tooMany = store.list().length > MAX_SNAPSHOTS;
  const action = tooMany ? actions[3]! : actions[below(actions.length)]!;
  const before = store.list().map(({ id }) => id);
  try {
    await action();
  } catch (error) {
    // Others may remove what this one is about to use, and nothing else may go wrong.
    const gone = [];
    for (const id of before) if (!(await isThere(id))) gone.push(id);
    if (!gone.length) tell(`!${(error as Error).message}`);
  }
  for (const { id, damage } of store.list())
    if (damage && (await isThere(id)) && store.info(id).damage) tell(`!${id} is damaged: ${damage}`);
}
