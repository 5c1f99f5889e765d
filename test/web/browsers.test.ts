import { drawn, expectNoViolations, offerGuests, PHONE } from './checks.ts';
import { useWebSite, type Visit } from './support.ts';
import { TOURS } from './tours.ts';
import { WALKS } from './walk.ts';

for (const browser of ['Chromium', 'Firefox'] as const)
  describe(`the page in ${browser}`, function () {
    this.timeout(900_000);
    const site = useWebSite();
    beforeEach(() => offerGuests(site));

    // It has the same elements in all browsers, and looking at them takes long.
    const looking = (visit: Visit) => (name: string) =>
      drawn(visit, name, async () => {
        if (browser === 'Chromium') await expectNoViolations(visit);
      });

    for (const [part, follow] of Object.entries(WALKS))
      it(`works, is accessible and fits, light and dark, wide and on a phone: ${part}`, async () => {
        const visit = await site.open({ browser, ...PHONE, path: '?guest=busybox' });
        await visit.ready();
        await follow(visit, looking(visit), site);
      });

    for (const [tour, follow] of Object.entries(TOURS))
      it(`“${tour}” leads to something to be seen`, async () => {
        const visit = await site.open({ browser, path: '?guest=busybox' });
        await visit.ready();
        await follow(visit, looking(visit));
      });
  });
