import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { useWebSite, type Visit } from './support.ts';

/** All that a terminal has an answer to, or may have in another version of it. */
const QUERIES = [
  '\x05',
  '\x1b[5n',
  '\x1b[6n',
  '\x1b[?6n',
  '\x1b[?15n',
  '\x1b[?25n',
  '\x1b[?26n',
  '\x1b[?53n',
  '\x1b[?996n',
  '\x1b[c',
  '\x1b[>c',
  '\x1b[=c',
  '\x1b[>q',
  '\x1b[x',
  '\x1bZ',
  '\x1b[?2004$p',
  '\x1b[?1$p',
  '\x1b[4$p',
  '\x1bP$q"p\x1b\\',
  '\x1bP$qr\x1b\\',
  '\x1bP$qm\x1b\\',
  '\x1bP$q q\x1b\\',
  '\x1bP+q544e\x1b\\',
  '\x1b[?u',
  '\x1b]4;1;?\x07',
  '\x1b]10;?\x07',
  '\x1b]11;?\x1b\\',
  '\x1b]12;?\x07',
  '\x1b]52;c;?\x07',
  '\x1b[14t',
  '\x1b[16t',
  '\x1b[18t',
  '\x1b[19t',
  '\x1b[21t',
  '\x1b[?1004h\x1b[?1004l',
];

/** Asks the terminal, takes its answers until the one to the last question is there, and reads the keyboard into a file. */
const PROGRAM = `
stty raw -echo
cat queries
answers=
while :; do
  answers="$answers$(dd bs=1024 count=1 2>/dev/null)"
  case "$answers" in *'[0n'*'[0n') break;; esac
done
stty sane
echo answered \${#answers}
cat > typed
`;

describe('the page: what a terminal shows again', function () {
  const site = useWebSite();
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'v86-virtiofs-replay-'));
    writeFileSync(join(directory, 'queries'), `${QUERIES.join('')}\x1b[5n`, 'latin1');
    writeFileSync(join(directory, 'ask.sh'), PROGRAM);
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function press({ page }: Visit, name: RegExp): Promise<void> {
    const timeline = page.locator('vm-timeline');
    await timeline.getByRole('button', { name }).click();
    await timeline.getByRole('button', { name: 'Snapshot now' }).and(page.locator(':enabled')).waitFor();
  }

  /** Ends what was typed with a line's end, and returns it. */
  async function typed(visit: Visit, guest = 0): Promise<string> {
    await visit.until(async () => /answered \d{3}/.test(await visit.screen(guest)), 'the program is not there');
    await visit.type('', guest);
    await visit.type('\x04', guest);
    return visit.run('od -c typed | head -3', guest);
  }

  it('is not answered again: after a reload, a rewind and in a fork nothing is typed into what runs', async () => {
    const visit = await site.open();
    await visit.ready();
    // Its panel may be on its way yet.
    await visit.page.locator('vm-files .row').first().waitFor();
    await visit.drop(visit.page.locator('vm-files .area'), [join(directory, 'queries'), join(directory, 'ask.sh')]);
    await visit.page.locator('vm-files .row[data-path="/queries"]').waitFor();
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.page.locator('vm-timeline').getByLabel('Automatic').selectOption('never');
    await visit.ready();
    await visit.type('sh ask.sh');
    // More than a hundred bytes of answers: the questions are those that it has answers to.
    await visit.until(async () => /answered \d{3}/.test(await visit.screen()), 'the terminal has not answered');
    await visit.page.locator('vm-timeline').getByLabel('Name of the snapshot').fill('asked');
    await press(visit, /^Snapshot now/);
    await visit.page.locator('vm-timeline').getByText('asked', { exact: true }).waitFor();
    await visit.page.reload();
    expect(await typed(visit), 'after a reload').to.match(/^0000000 +\\n\n0000001$/);
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await press(visit, /^Rewind to: asked/);
    expect(await typed(visit), 'after a rewind').to.match(/^0000000 +\\n\n0000001$/);
    await press(visit, /^Fork from here: asked/);
    expect(await typed(visit, 1), 'in a fork').to.match(/^0000000 +\\n\n0000001$/);
  });
});
