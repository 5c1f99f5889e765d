import { expose, proxy, type Remote } from 'comlink';
import { guarded } from '../../web/protocol/guard.ts';
import type { GuestInfo, PageApi, StartOptions, StartResult } from '../../web/protocol.ts';

const GUEST: GuestInfo = {
  id: 1,
  name: 'guest',
  tag: 'share',
  mountPoint: '/mnt/share',
  memory: 128,
  driver: 'fast',
  folder: 1,
  shells: [],
  canSleep: false,
  isAsleep: false,
  power: 'on',
  isHeld: false,
};

/** What a worker of {@link useFakeWorker} does. Parts that a test leaves out fail. */
export interface Behaviour {
  /** What is not as in a worker whose guest is there at once. */
  result?: Partial<StartResult>;
  start?(options: StartOptions, page: Remote<PageApi>): Promise<void>;
  guest?: object;
  moves?: object;
}

/** A worker without a browser. */
export class FakeWorker extends EventTarget {
  readonly #channel = new MessageChannel();
  /** What the page is told by. */
  page!: Remote<PageApi>;
  isTerminated = false;

  constructor({ result, start, guest = {}, moves = {} }: Behaviour) {
    super();
    const { port1, port2 } = this.#channel;
    port1.onmessage = ({ data }) => this.dispatchEvent(new MessageEvent('message', { data }));
    expose(
      {
        start: async (options: StartOptions, page: Remote<PageApi>): Promise<StartResult> => {
          this.page = page;
          await start?.(options, page);
          return { guests: [GUEST], isNew: true, hasStore: true, milliseconds: 1, ...result };
        },
        guest: () => proxy(guest),
        moves,
      },
      guarded(port2),
    );
    port2.start();
  }

  postMessage(message: unknown, transfer: Transferable[]): void {
    if (!this.isTerminated) this.#channel.port1.postMessage(message, transfer);
  }

  terminate(): void {
    this.isTerminated = true;
    this.#channel.port1.close();
  }

  /** As when its program throws, or can't be fetched. */
  fail(message: string): void {
    this.dispatchEvent(Object.assign(new Event('error'), { message }));
  }
}

/** Workers of the page are fakes in each test. `behaviour` is that of those made next. */
export function useFakeWorker(): { behaviour: Behaviour; made: FakeWorker[]; kept: Map<string, string> } {
  const fake = { behaviour: {} as Behaviour, made: [] as FakeWorker[], kept: new Map<string, string>() };
  function makeWorker(url: URL, { type }: WorkerOptions): object {
    // The other one is made to see whether the browser knows modules.
    if (type !== 'module' || !/main\.js$/.test(String(url))) return { terminate() {} };
    const worker = new FakeWorker(fake.behaviour);
    fake.made.push(worker);
    return worker;
  }
  const globals = {
    Worker: makeWorker,
    document: { baseURI: 'https://example.org/' },
    localStorage: {
      getItem: (key: string) => fake.kept.get(key) ?? null,
      setItem: (key: string, value: string) => void fake.kept.set(key, value),
    },
  };
  const before = new Map<string, PropertyDescriptor | undefined>();
  beforeEach(() => {
    Object.assign(fake, { behaviour: {}, made: [] });
    fake.kept.clear();
    for (const [name, value] of Object.entries(globals)) {
      before.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
      Object.defineProperty(globalThis, name, { value, configurable: true });
    }
  });
  afterEach(() => {
    for (const worker of fake.made) worker.terminate();
    for (const [name, descriptor] of before)
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else Reflect.deleteProperty(globalThis, name);
  });
  return fake;
}
