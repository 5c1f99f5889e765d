import { expect } from 'chai';
import { useWebSite } from './support.ts';

describe('the page: start and terminal', () => {
  const site = useWebSite();

  it('starts a guest from static files below any path, asks nobody else, and takes what is typed', async () => {
    const visit = await site.open();
    expect(await visit.run('uname -s; pwd')).to.equal('Linux\n/mnt/share');
    expect(await visit.run('grep virtiofs /proc/mounts')).to.match(/^share \/mnt\/share virtiofs rw/);
    expect(visit.strangers).to.deep.equal([]);
    await visit.picture('terminal');
  });

  it('gives the guest the time of today', async () => {
    const visit = await site.open();
    const seconds = Number(await visit.run('date +%s'));
    expect(Math.abs(seconds - Date.now() / 1000)).to.be.below(120);
  });

  it('tells the guest how large the terminal is, and when that changes', async () => {
    const visit = await site.open();
    const size = async () => (await visit.run('stty size')).split(' ').map(Number) as [number, number];
    const [rows, columns] = await size();
    expect(columns).to.be.above(80);
    await visit.page.setViewportSize({ width: 800, height: 500 });
    await visit.until(async () => {
      const [fewer, narrower] = await size();
      return fewer < rows && narrower < columns;
    }, 'the size has not changed');
  });

  it('opens several shells, and closes them', async () => {
    const visit = await site.open();
    await visit.run('echo one');
    await visit.page.getByRole('button', { name: 'New shell' }).click();
    expect(await visit.run('echo $PPID; tty')).to.match(/pts/);
    await visit.page.getByRole('tab', { name: 'Shell 1' }).click();
    expect(await visit.screen()).to.match(/^one$/m);
    await visit.page.getByRole('button', { name: 'Close Shell 1' }).click();
    await visit.page.getByRole('tab', { name: 'Shell 1' }).waitFor({ state: 'detached' });
    await visit.page.getByRole('tab', { name: 'Shell 2' }).click();
    await visit.type('exit');
    await visit.page.getByText('The last shell has ended').waitFor();
  });

  it('takes much output without losing any', async () => {
    const visit = await site.open();
    expect(await visit.run('seq 1 20000 | tee /tmp/seq | tail -1; wc -c < /tmp/seq')).to.equal('20000\n108894');
    expect(await visit.run('seq 1 4000 | cat')).to.match(/^1\n2\n[^]*\n4000$/);
  });

  it('shows how far the download is, and says so when it breaks off', async () => {
    let fail = () => {};
    site.intercept = (request, response, next) => {
      if (!request.url!.endsWith('.layer.gz')) return next();
      response.writeHead(200, { 'content-length': 9_000_000 });
      response.write(Buffer.from('1f8b0800000000000000', 'hex'));
      fail = () => response.destroy();
    };
    const visit = await site.open();
    await visit.page.getByText(/0\.0 of \d+\.\d MB/).waitFor();
    fail();
    await visit.page.getByText(/broke off after \d+ bytes: look at the network, and reload/).waitFor();
    visit.complaints.length = 0;
    site.intercept = undefined;
    await visit.page.reload();
    expect(await visit.run('echo there')).to.equal('there');
  });

  it('says so when the guest is not there', async () => {
    site.intercept = (request, response, next) => (request.url!.includes('guest.json') ? response.writeHead(404).end() : next());
    const visit = await site.open();
    await visit.page.getByText(/guest\.json can't be fetched: the server answers 404/).waitFor();
    visit.complaints.length = 0;
  });
});
