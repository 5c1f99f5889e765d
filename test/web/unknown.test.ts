import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { WebSocket, WebSocketServer } from 'ws';
import { MESSAGE } from '../../device/migration/link.ts';
import { useCli } from '../support/cli.ts';
import { useWebSite, type Visit } from './support.ts';

/** A piece of a WebSocket's channel with a message that has no body, and where that has its type. */
const PIECE = 1 + 9 + 32;
const TYPE = 1 + 8;

/** Passes on what a page and Node say to each other, until one says `last`, which is lost with the connection. */
class BreakingRoad {
  readonly #server = new WebSocketServer({ port: 0 });
  /** When it has broken: whether callers get through again. */
  readonly #heals: boolean;
  #isBroken = false;

  constructor(there: string, last: number, heals: boolean) {
    this.#heals = heals;
    this.#server.on('connection', (near, { headers: { origin } }) => {
      if (this.#isBroken && !this.#heals) return near.terminate();
      const far = new WebSocket(there, { origin });
      const early: Buffer[] = [];
      const end = () => [near, far].forEach((socket) => socket.terminate());
      const pass = (to: WebSocket) => (data: Buffer) => {
        if (!this.#isBroken && data.length === PIECE && data[TYPE] === last) {
          this.#isBroken = true;
          return end();
        }
        if (to.readyState === WebSocket.CONNECTING) early.push(data);
        else if (to.readyState === WebSocket.OPEN) to.send(data);
      };
      near.on('message', pass(far)).on('close', end).on('error', end);
      far.on('message', pass(near)).on('close', end).on('error', end);
      far.on('open', () => early.splice(0).forEach((data) => far.send(data)));
    });
  }

  get address(): string {
    return `ws://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
  }
}

describe('the page: a guest of which nobody heard where it runs', function () {
  const site = useWebSite();
  const cli = useCli();
  const directory = mkdtempSync(join(tmpdir(), 'unknown-'));
  const roads: BreakingRoad[] = [];
  after(() => {
    for (const road of roads) road.close();
    rmSync(directory, { recursive: true });
  });

  const asked = ({ page }: Visit) =>
    page.getByRole('alert').getByText('The link broke while the guest was being switched over');

  /** A guest that moves to Node over a road that breaks. */
  async function move(last: number, heals: boolean) {
    const visit = await site.open();
    await visit.run('n=42; echo kept > f; exec 5<f; rm f');
    const server = cli.start([
      'serve',
      '--incoming',
      'ws:0',
      '--store',
      directory,
      '--',
      'sh',
      '-c',
      'echo runs in Node >&2; sleep 100000',
    ]);
    const [, there, token] = await server.says(/waiting on (ws:\S+?)(#\S+)\n/);
    const road = new BreakingRoad(there!, last, heals);
    roads.push(road);
    await visit.page.getByRole('button', { name: 'Move the guest', exact: true }).click();
    const address = visit.page.getByRole('dialog', { name: /^Move/ }).getByLabel('Where the guest moves to');
    await address.fill(road.address + token);
    await address.press('Enter');
    return { visit, server };
  }

  async function goesOn(visit: Visit): Promise<void> {
    const dialog = visit.page.getByRole('dialog', { name: /^Move/ });
    // In the terminal, it would begin a sequence, and the shell would take what is typed next for the rest of that.
    if (await dialog.isVisible()) await visit.page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    expect(await visit.run('echo $n; cat <&5')).to.equal('42\nkept');
  }

  it('the order was lost, and the other side says so: it goes on here', async () => {
    const { visit } = await move(MESSAGE.SWITCH, true);
    await visit.page.getByText('the link broke, and the guest keeps running here').waitFor();
    await goesOn(visit);
  });

  it('the answer was lost, and the other side says so: it runs there', async () => {
    const { visit, server } = await move(MESSAGE.RUNNING, true);
    await visit.page.getByText(/guest runs at ws:\/\/localhost:\d+ now/).waitFor();
    await server.says(/runs in Node\n/);
  });

  it('the order was lost, and nobody answers: it stands still until the visitor says that it goes on here', async () => {
    const { visit } = await move(MESSAGE.SWITCH, false);
    await asked(visit).waitFor();
    visit.complaints.length = 0;
    await visit.picture('unknown');
    await visit.page.getByRole('button', { name: 'It does not: resume here' }).click();
    await asked(visit).waitFor({ state: 'detached' });
    await goesOn(visit);
  });

  it('the answer was lost, and nobody answers: it is given up when the visitor has seen that it runs there', async () => {
    const { visit, server } = await move(MESSAGE.RUNNING, false);
    await server.says(/runs in Node\n/);
    await asked(visit).waitFor();
    visit.complaints.length = 0;
    await visit.page.getByRole('button', { name: 'It runs there' }).click();
    await visit.page.getByText('guest runs elsewhere now').waitFor();
    await visit.page
      .getByText('No guest runs here')
      .or(visit.page.getByRole('button', { name: 'New guest' }))
      .first()
      .waitFor();
  });
});
