import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { WebSocket } from 'ws';

const FIREFOX = '/usr/bin/firefox-esr';
/** Milliseconds for Firefox to start, and for what a page does in it, on a machine with many other things to do. */
const PATIENCE = 180_000;
const LOOK_INTERVAL = 100;
/** What a page is about: what it shows, and who has or waits for which lock. */
const STATE = `navigator.locks.query().then((locks) =>
  document.querySelector('virtiofs-vm')?.shadowRoot?.textContent.replace(/\\s+/g, ' ') + JSON.stringify(locks))`;

interface Answer {
  id?: number;
  method?: string;
  params?: { level?: string; text?: string };
  result?: Record<string, unknown>;
  error?: string;
  message?: string;
}

/** Debian's Firefox with an empty profile and one tab, driven by WebDriver BiDi: playwright-core drives a Firefox of its own only. */
export class Firefox {
  /** Errors that it complained of. */
  readonly complaints: string[] = [];
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #lastId = 0;
  #context = '';

  private constructor(process: ChildProcess, profile: string, socket: WebSocket) {
    this.#process = process;
    this.#profile = profile;
    this.#socket = socket;
    socket.on('message', (data: Buffer) => this.#receive(JSON.parse(data.toString()) as Answer));
  }

  static async launch(): Promise<Firefox> {
    const profile = await mkdtemp(join(tmpdir(), 'v86-virtiofs-firefox-'));
    const process = spawn(
      FIREFOX,
      ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0'],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    try {
      const socket = new WebSocket(`${await listening(process)}/session`);
      await once(socket, 'open', { signal: AbortSignal.timeout(PATIENCE) });
      const firefox = new Firefox(process, profile, socket);
      await firefox.#send('session.new', { capabilities: {} });
      await firefox.#send('session.subscribe', { events: ['log.entryAdded'] });
      const { contexts } = (await firefox.#send('browsingContext.getTree', {})) as { contexts: { context: string }[] };
      firefox.#context = contexts[0]!.context;
      await firefox.#send('browsingContext.setViewport', {
        context: firefox.#context,
        viewport: { width: 1280, height: 800 },
      });
      return firefox;
    } catch (error) {
      process.kill('SIGKILL');
      await rm(profile, { recursive: true, force: true });
      throw error;
    }
  }

  async goto(url: string): Promise<void> {
    await this.#send('browsingContext.navigate', { context: this.#context, url, wait: 'complete' });
  }

  async reload(): Promise<void> {
    await this.#send('browsingContext.reload', { context: this.#context, wait: 'complete' });
  }

  /** What an expression of the page comes to, which has to be a string; its promise is awaited. */
  async evaluate(expression: string): Promise<string> {
    const { type, result, exceptionDetails } = (await this.#send('script.evaluate', {
      expression,
      target: { context: this.#context },
      awaitPromise: true,
      userActivation: true,
    })) as { type: string; result?: { value: string }; exceptionDetails?: { text: string } };
    if (type !== 'success') throw new Error(exceptionDetails?.text);
    return result!.value;
  }

  /** Looks until that matches, and returns what it saw. A page that is just being left can't be looked at. */
  async sees(pattern: RegExp, look: () => Promise<string>): Promise<string> {
    let seen = '';
    for (const end = Date.now() + PATIENCE; Date.now() < end; await setTimeout(LOOK_INTERVAL))
      if (pattern.test((seen = await look().catch(String)))) return seen;
    throw new Error(`${pattern} is not to be seen in\n${seen}\nThe page shows ${await this.evaluate(STATE)}`);
  }

  /** Types keys where the focus is. `\n` is Enter. */
  async type(text: string): Promise<void> {
    const actions = [...text.replaceAll('\n', '\uE007')].flatMap((value) => [
      { type: 'keyDown', value },
      { type: 'keyUp', value },
    ]);
    await this.#send('input.performActions', {
      context: this.#context,
      actions: [{ type: 'key', id: 'keyboard', actions }],
    });
  }

  /** PNG. */
  async picture(): Promise<Buffer> {
    const { data } = (await this.#send('browsingContext.captureScreenshot', { context: this.#context })) as {
      data: string;
    };
    return Buffer.from(data, 'base64');
  }

  async close(): Promise<void> {
    this.#socket.terminate();
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #send(method: string, params: object): Promise<Record<string, unknown>> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error, message }) =>
        result ? resolve(result) : reject(new Error(`${method}: ${error}: ${message}`)),
      );
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  #receive(answer: Answer): void {
    const { id, method, params } = answer;
    if (id !== undefined) {
      this.#waiting.get(id)?.(answer);
      this.#waiting.delete(id);
    } else if (method === 'log.entryAdded' && /error|warn/.test(params!.level!)) {
      this.complaints.push(params!.text!);
    }
  }
}

/** The address that it tells. */
function listening(process: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = globalThis.setTimeout(() => reject(new Error(`Firefox does not start:\n${said}`)), PATIENCE);
    process.once('error', reject);
    process.once('exit', (code) => reject(new Error(`Firefox has ended with ${code}:\n${said}`)));
    process.stderr!.on('data', (data: Buffer) => {
      said += data.toString();
      const [, address] = /WebDriver BiDi listening on (ws:\S+)/.exec(said) ?? [];
      if (!address) return;
      clearTimeout(timer);
      resolve(address);
    });
  });
}
