import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Download,
  type Locator,
  type Page,
} from 'playwright-core';
import { PAGE_DIRECTORY, pageListener } from '../../web/build/serve.ts';
import { FIREFOX, launchFirefox } from './firefox.ts';

const BROWSERS = { Chromium: '/usr/bin/chromium', Firefox: FIREFOX };
const ROOT = join(import.meta.dirname, '../..');
/** The same server, at an address from which browsers let pages do less. */
export const INSECURE_HOST = 'elsewhere.test';
/** Where the tests leave pictures of what they saw. */
const SCREENSHOTS = join(ROOT, 'build/screenshots');
/** For a guest to come up, and for what it does there, on a machine with other things to do. */
export const PATIENCE = 100_000;

/** What people have. Firefox has other workers, storage and WebAssembly. */
export type BrowserName = 'Chromium' | 'Firefox';

type Interceptor = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** Browsers, and a server with the built page below a path of its own. */
export interface WebSite {
  readonly url: string;
  /** Sees each request before the server. */
  intercept: Interceptor | undefined;
  /** A tab of an empty profile: its store is gone with it. */
  open(options?: {
    context?: BrowserContext;
    /** Where no context says it. */
    browser?: BrowserName;
    width?: number;
    height?: number;
    path?: string;
    host?: string;
  }): Promise<Visit>;
  newProfile(options?: BrowserContextOptions, browser?: BrowserName): Promise<BrowserContext>;
}

let isBuilt = false;

/** Builds the page, once in a run. */
export function buildPage(): void {
  if (!isBuilt)
    execFileSync('npm', ['run', '--silent', 'build:page'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  isBuilt = true;
}

/** Answers a request for the page with what `change` makes of it; false for anything else. */
export function serveIndex(
  { url }: IncomingMessage,
  response: ServerResponse,
  change: (html: string) => string,
): boolean {
  const isIndex = /^(\/some\/where)?\/(\?|$)/.test(url!);
  if (isIndex)
    response
      .writeHead(200, { 'content-type': 'text/html' })
      .end(change(readFileSync(join(PAGE_DIRECTORY, 'index.html'), 'utf8')));
  return isIndex;
}

/** The page, built and served, for the tests of the surrounding `describe`. */
export function useWebSite(): WebSite {
  let server: Server;
  /** Each is started when it is wanted first. */
  const browsers = new Map<BrowserName, Promise<Browser>>();
  const started = (name: BrowserName) => {
    const browser = browsers.get(name) ?? (name === 'Firefox' ? launchFirefox() : launchChromium());
    browsers.set(name, browser);
    return browser;
  };
  const contexts: BrowserContext[] = [];
  const visits: Visit[] = [];
  const site: WebSite = {
    get url() {
      return `http://localhost:${(server.address() as AddressInfo).port}/some/where/`;
    },
    intercept: undefined,
    async newProfile(options, browser = 'Chromium') {
      const context = await (await started(browser)).newContext({
        viewport: { width: 1280, height: 800 },
        // It would answer in place of the test's server.
        serviceWorkers: 'block',
        ...options,
      });
      contexts.push(context);
      return context;
    },
    async open({ context, browser, width = 1280, height = 800, path = '', host = 'localhost' } = {}) {
      const page = await (context ?? (await site.newProfile(undefined, browser))).newPage();
      await page.setViewportSize({ width, height });
      page.setDefaultTimeout(PATIENCE);
      // tsx puts this around functions with names, those for the page too.
      await page.addInitScript('globalThis.__name = (value) => value');
      const url = site.url.replace('localhost', host);
      const visit = new Visit(page, url);
      visits.push(visit);
      await page.goto(url + path);
      return visit;
    },
  };
  before(async function () {
    // The first one builds the page, which takes ten minutes on a machine with other work to do.
    this.timeout(1_800_000);
    for (const [name, path] of Object.entries(BROWSERS))
      if (!existsSync(path))
        throw new Error(`the tests of the page need ${name}: run \`node scripts/browsers.mjs\`, or install ${path}`);
    buildPage();
    const serve = await pageListener(PAGE_DIRECTORY);
    server = createServer((request, response) => {
      const answer = () => {
        request.url = request.url!.replace(/^\/some\/where/, '');
        serve(request, response);
      };
      if (site.intercept) site.intercept(request, response, answer);
      else answer();
    }).listen(0);
  });
  afterEach(async () => {
    site.intercept = undefined;
    const seen = visits.splice(0);
    for (const context of contexts.splice(0)) await context.close();
    for (const { complaints, strangers } of seen) {
      // As text: of lists, a failure may tell no more than how long they are.
      expect(complaints.join('\n'), 'the browser’s console').to.equal('');
      expect(strangers.join('\n'), 'requests to others').to.equal('');
    }
  });
  after(async () => {
    for (const browser of browsers.values()) await (await browser).close();
    server?.close();
  });
  return site;
}

function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: BROWSERS.Chromium,
    args: ['--no-sandbox', `--host-resolver-rules=MAP ${INSECURE_HOST} localhost`],
  });
}

/** One tab with the page in it, and a visitor's hands. */
export class Visit {
  readonly page: Page;
  readonly #isFirefox: boolean;
  /** Errors that the browser complained of. */
  readonly complaints: string[] = [];
  /** Complaints that a test brings about on purpose, some of which come late. */
  expected: RegExp | undefined;
  /** Requests to anywhere but the page's own server. */
  readonly strangers: string[] = [];

  constructor(page: Page, url: string) {
    this.page = page;
    this.#isFirefox = page.context().browser()!.browserType().name() === 'firefox';
    const complain = (text: string) => this.expected?.test(text) || this.complaints.push(text);
    page.on('pageerror', (error) => complain(String(error)));
    page.on('console', (message) => {
      if (/registration blocked by Playwright/.test(message.text())) return;
      if (message.type() === 'error' || message.type() === 'warning')
        complain(`${message.text()} (${message.location().url})`);
    });
    page.on('request', (request) => {
      if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(url)) this.strangers.push(request.url());
    });
  }

  /** Leaves out of account what the browser has complained of, and what it still will: where a test that broke something ends. */
  forgive(): void {
    this.complaints.length = 0;
    this.expected = /^/;
  }

  /** The terminals of a guest, the first one by default. */
  terminal(guest = 0): Locator {
    return this.page.locator('vm-terminals').nth(guest);
  }

  /** What a guest's terminal shows. */
  async screen(guest = 0): Promise<string> {
    return this.terminal(guest).evaluate((element) => (element as unknown as { text: string }).text);
  }

  /** Waits until the guest's prompt is there. */
  async ready(guest = 0): Promise<void> {
    await this.until(async () => /# $/m.test(`${await this.screen(guest)} `), 'no prompt');
  }

  /** Types a command, and returns what it wrote when its end was seen. */
  async run(command: string, guest = 0): Promise<string> {
    await this.ready(guest);
    const mark = `end${Math.random().toString(36).slice(2, 10)}`;
    await this.type(`${command}; echo ${mark.slice(0, 3)}''${mark.slice(3)}`, guest);
    // The guest's shell breaks the line that is typed where the terminal ends.
    const echo = [..."''", ...mark.slice(3)].join('\\n?');
    let output: string | undefined;
    await this.until(async () => {
      output = new RegExp(`${echo}\\s*\\n([\\s\\S]*?)${mark}`).exec(await this.screen(guest))?.[1];
      return output !== undefined;
    }, `${command} did not end`);
    return output!.trim();
  }

  /** Types a line into a guest's terminal. */
  async type(line: string, guest = 0): Promise<void> {
    await this.terminal(guest).locator('.screens').click();
    await this.insert(line);
    await this.page.keyboard.press('Enter');
  }

  /** Types a text where the focus is; in Firefox key by key, where nothing else reaches into shadow roots. */
  async insert(text: string): Promise<void> {
    const { keyboard } = this.page;
    await (this.#isFirefox ? keyboard.type(text) : keyboard.insertText(text));
  }

  /** What the browser saves when `press` has been done, which may take its time on a machine with other things to do. */
  async download(press: () => Promise<void>): Promise<Download> {
    const begun = new Promise<Download>((resolve) => this.page.once('download', resolve));
    await press();
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise<never>((_, reject) => {
      const fail = async () => reject(new Error(`nothing was saved; the page says ${await this.#told()}`));
      timer = setTimeout(() => void fail(), PATIENCE);
    });
    return Promise.race([begun, late]).finally(() => clearTimeout(timer));
  }

  async #told(): Promise<string> {
    return (await this.page.locator('.problem, .tasks, .under-way').allInnerTexts()).join('; ') || 'nothing';
  }

  /** Lets go of files and directories of this machine over something, as a file manager does. */
  async drop(target: Locator, files: string[]): Promise<void> {
    const { x, y, width, height } = (await target.boundingBox())!;
    const session = await this.page.context().newCDPSession(this.page);
    for (const type of ['dragEnter', 'dragOver', 'drop'] as const) {
      await session.send('Input.dispatchDragEvent', {
        type,
        x: x + width / 2,
        y: y + height / 2,
        data: { items: [], files, dragOperationsMask: 1 },
      });
    }
    await session.detach();
  }

  /** Waits for something to become true. */
  async until(condition: () => Promise<boolean>, complaint: string): Promise<void> {
    for (const end = Date.now() + PATIENCE; !(await condition().catch(() => false)); ) {
      if (Date.now() > end)
        throw new Error(`${complaint}; the terminal shows\n${await this.screen().catch(() => '(nothing)')}`);
      await this.page.waitForTimeout(50);
    }
  }

  /** Leaves a picture in build/screenshots/. */
  async picture(name: string): Promise<void> {
    await mkdir(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SCREENSHOTS, `${this.#isFirefox ? 'firefox-' : ''}${name}.png`) });
  }
}
