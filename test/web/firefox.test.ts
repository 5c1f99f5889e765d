import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { Firefox } from './firefox.ts';
import { SCREENSHOTS, useWebSite } from './support.ts';

describe('the page in Firefox', function () {
  this.timeout(600_000);
  const site = useWebSite();
  let firefox: Firefox;
  before(async () => void (firefox = await Firefox.launch()));
  after(() => firefox?.close());

  /** An element, through open shadow roots: a selector for each. */
  const find = (...selectors: string[]) =>
    `[${selectors.map((selector) => JSON.stringify(selector))}].reduce((root, selector) => (root?.shadowRoot ?? root)?.querySelector(selector), document)`;
  const screen = () => firefox.evaluate(`${find('virtiofs-vm', 'vm-terminals')}?.text ?? ''`);
  const until = (look: () => Promise<string>, pattern: RegExp) => firefox.sees(pattern, look);

  /** The page may have something else to do with the focus yet. */
  const enterTerminal = () =>
    until(
      () =>
        firefox.evaluate(
          `${find('virtiofs-vm', 'vm-terminals')}.focus(), ${find('virtiofs-vm', 'vm-terminals')}.shadowRoot.activeElement?.localName ?? ''`,
        ),
      /textarea/,
    );

  it('starts a guest, takes what is typed, shows the folder, keeps snapshots over a reload, and has nothing to complain of', async () => {
    await firefox.goto(site.url);
    await until(screen, /#\s*$/);
    await enterTerminal();
    await firefox.type('echo from $((6*7)) > typed; cat typed\n');
    await until(screen, /^from 42$/m);
    await until(() => firefox.evaluate(`${find('virtiofs-vm', 'vm-files')}.shadowRoot.textContent`), /typed/);

    await firefox.evaluate(`${find('virtiofs-vm', '#panel-timeline-tab')}.click(), ''`);
    const timeline = find('virtiofs-vm', 'vm-timeline');
    await until(() => firefox.evaluate(`String(!!${timeline}?.shadowRoot?.querySelector('input'))`), /true/);
    await firefox.evaluate(
      `${timeline}.shadowRoot.querySelector('input').value = 'mark', [...${timeline}.shadowRoot.querySelectorAll('button')].find((button) => /Snapshot now/.test(button.textContent)).click(), ''`,
    );
    await until(
      () => firefox.evaluate(`${timeline}.shadowRoot.textContent`),
      /mark[\s\S]*Current position[\s\S]*Start/,
    );
    await mkdir(SCREENSHOTS, { recursive: true });
    await writeFile(join(SCREENSHOTS, 'firefox.png'), await firefox.picture());

    await firefox.reload();
    await until(() => firefox.evaluate(`${find('virtiofs-vm')}?.shadowRoot.textContent ?? ''`), /resumed from/);
    await enterTerminal();
    await firefox.type('clear; cat typed\n');
    await until(screen, /^from 42$/m);
    expect(firefox.complaints).to.deep.equal([]);
  });

  it('starts without a network after that', async () => {
    const kept = `caches.open('v86-virtiofs guests').then((cache) => cache.keys()).then(({ length }) => String(length))`;
    await until(() => firefox.evaluate(kept), /^2$/);
    await until(
      () => firefox.evaluate(`navigator.serviceWorker.ready.then(({ active }) => active.state)`),
      /activated/,
    );
    site.intercept = (request) => void request.socket.destroy();
    await firefox.goto(site.url);
    await until(screen, /#\s*$/);
    await enterTerminal();
    await firefox.type('clear; echo off$((1))line\n');
    await until(screen, /^off1line$/m);
    firefox.complaints.length = 0;
  });

  it('does a lesson beside the inspector, and drives a bare device', async () => {
    const lesson = find('virtiofs-vm', 'vm-lesson');
    const textOf = (element: string) => () => firefox.evaluate(`${element}?.shadowRoot?.textContent ?? ''`);
    const press = async (element: string, name: string) =>
      until(
        () =>
          firefox.evaluate(
            `(() => { const button = [...(${element}?.shadowRoot?.querySelectorAll('button:enabled') ?? [])].find((each) => each.textContent.trim() === ${JSON.stringify(name)}); button?.click(); return String(!!button); })()`,
          ),
        /true/,
      );
    await firefox.goto(`${site.url}?course=course/course.md#lesson=cat`);
    await press(lesson, 'LOOKUP: which node has this name');
    await press(lesson, 'Do it for me');
    await press(lesson, 'Let the device take it');
    await until(textOf(lesson), /LOOKUP, OPEN, READ[\s\S]*You were right/);
    await until(
      () =>
        firefox.evaluate(
          `String(${find('virtiofs-vm', 'vm-inspector', 'vm-requests')}?.shadowRoot.querySelectorAll('[data-marked]').length)`,
        ),
      /[1-9]/,
    );
    await firefox.goto(`${site.url}?course=course/course.md&again#lesson=driver`);
    const exercise = find('virtiofs-vm', 'vm-lesson', 'vm-exercise');
    await press(exercise, 'Show a solution');
    await press(exercise, 'Replace it');
    await press(exercise, 'Run');
    await until(textOf(exercise), /Hello, driver \d+!/);
    await until(textOf(lesson), /The program went through all capabilities/);
    await press(exercise, 'Run');
    await until(textOf(lesson), /VIRTIO_F_VERSION_1 is accepted\. FEATURES_OK is set/);
    await writeFile(join(SCREENSHOTS, 'firefox-driver.png'), await firefox.picture());
    expect(firefox.complaints).to.deep.equal([]);
  });

  it('has it in a page of one script and one element', async () => {
    firefox.complaints.length = 0;
    await firefox.goto(`${site.url}one-script.html`);
    await until(screen, /#\s*$/);
    await until(() => firefox.evaluate(`${find('virtiofs-vm', 'vm-files')}?.shadowRoot.textContent ?? ''`), /README/);
    expect(firefox.complaints).to.deep.equal([]);
  });
});
