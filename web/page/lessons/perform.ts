import { calledFirst } from '../../protocol/format.ts';
import type { GuestId } from '../../protocol.ts';
import type { Act } from './acts.ts';
import type { Scene } from './facts.ts';

const SNAPSHOT = 'in the lesson';

interface Stage extends Pick<Scene, 'connection' | 'guest' | 'notes' | 'path'> {
  /** Guests and snapshots that acts have made, for whoever clears up. */
  readonly opened: Set<GuestId>;
  readonly taken: Set<string>;
}

/** Does what a step wants done, for the visitor. */
export async function perform(act: Act, { connection, guest, notes, path, opened, taken }: Stage): Promise<void> {
  const { timeline } = connection.worker;
  switch (act.what) {
    case 'hold':
      return connection.hold(guest, true);
    case 'release':
      return connection.hold(guest, false);
    case 'serve':
      return void (await guest.api.inspector.serve());
    case 'snapshot':
      taken.add(await timeline.take(guest.id, SNAPSHOT));
      return;
    case 'rewind': {
      const { isDone, reason } = await timeline.rewind(guest.id, String(notes.get('snapshot')));
      if (!isDone)
        throw new Error(`${calledFirst(guest.name)} did not go back, because it can’t be kept as it is now: ${reason}`);
      return;
    }
    case 'fork':
      opened.add((await connection.fork({ guest: guest.id, folder: act.folder, isPassing: true })).id);
      return;
    case 'write':
      await guest.api.folder.save(`${path}/${act.path}`, new TextEncoder().encode(act.text));
  }
}
