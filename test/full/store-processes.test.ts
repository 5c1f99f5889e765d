import { STORE_KINDS } from '../support/store-kinds.ts';
import { storm } from '../support/store-storm.ts';

for (const kind of STORE_KINDS)
  it(`a store in ${kind.kind} loses nothing when four processes change it at random for a minute and are killed`, async function () {
    this.timeout(300_000);
    const location = await kind.make();
    await storm(kind, location, { processes: 4, milliseconds: 60_000 });
    await kind.remove(location);
  });
