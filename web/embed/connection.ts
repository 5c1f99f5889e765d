import { proxy, type Remote, wrap } from 'comlink';
import { printableLines } from '../../harness/machine/printable.ts';
import { guarded } from '../protocol/guard.ts';
import type {
  DeviceApi,
  GuestApi,
  GuestId,
  GuestInfo,
  GuestState,
  ImageTrouble,
  KeepResult,
  MoveProgress,
  MoveResult,
  PageApi,
  Progress,
  RootInfo,
  ShellInfo,
  StartOptions,
  TerminalSize,
  VmEvents,
  WorkerApi,
} from '../protocol.ts';
import { ImageThread } from './image-thread.ts';
import { movedAt, rememberMove } from './links.ts';
import { checkBrowser } from './requirements.ts';
import { ShellStream } from './shell-stream.ts';

/** Until a terminal says how large it is. */
const NEW_SHELL: TerminalSize = { columns: 80, rows: 24 };

/** Lines of a guest's console that the page keeps. */
const CONSOLE_LINES = 500;

/** A guest as the page knows it. */
export interface GuestView extends Omit<GuestInfo, 'shells' | 'root'> {
  readonly api: Remote<GuestApi>;
  shells: ShellStream[];
  /** Counts changes of its folder. */
  filesVersion: number;
  /** The same guest, with its root filesystem's device and files in place of the shared folder's; undefined where it has none. */
  root: GuestView | undefined;
}

/** See {@link GuestView.root}. All else is as in `guest`, now and later. */
function rootOf(guest: GuestView, { tag, isHeld }: RootInfo): GuestView {
  const { folder, inspector } = guest.api.root as Remote<DeviceApi>;
  const api = { folder, inspector, shells: guest.api.shells } as GuestView['api'];
  const own = { api, tag, isHeld, mountPoint: '/', filesVersion: 0, root: undefined };
  return Object.assign(Object.create(guest) as GuestView, own);
}

function stateOf({ power, isAsleep, isHeld, root }: GuestView): GuestState {
  if (power !== 'on') return power === 'off' ? 'halted' : 'booting';
  if (isAsleep) return 'asleep';
  return isHeld || root?.isHeld ? 'paused' : 'running';
}

/**
 * The page's end: the worker, the guests in it, and what they tell. Dispatches `change` when any of its fields did, and
 * the events of {@link VmEvents}.
 */
export class Connection extends EventTarget {
  /** From {@link start} on. */
  worker!: Remote<WorkerApi>;
  #thread: Worker | undefined;
  #end!: (reason: Error) => void;
  /** Rejects when the worker has ended, or {@link stop} has ended it. */
  readonly ended = new Promise<never>((_, reject) => (this.#end = reject));
  #isStopped = false;
  readonly #images = new ImageThread();
  /** Of which a reload resumes; undefined where another tab has it. */
  #store: string | undefined;
  /** By guest and shell; before the guest is in {@link guests}, because the shell may write at once. */
  readonly #streams = new Map<string, ShellStream>();
  /** Shells of guests that are not in {@link guests} yet, which may end before. */
  readonly #ended = new Set<string>();
  guests: GuestView[] = [];
  progress: Progress | undefined = { what: 'emulator' };
  /** The start came to nothing. */
  hasFailed = false;
  /** The worker has ended with all that ran in it. */
  isDead = false;
  /** Milliseconds from the start until the guest answered. */
  startTime: number | undefined;
  /** When the snapshot was taken that the first guest went on from, in milliseconds since 1970. */
  resumed: number | undefined;
  /** How a move goes, while there is one. */
  move: MoveProgress | undefined;
  /** The guest that has left last, and where it runs. */
  departed: { name: string; place: string } | undefined;
  /** Guests that may run elsewhere: they are paused. */
  readonly undecided = new Set<GuestId>();
  #movedBefore = 0;
  /** What was told last. */
  readonly #states = new WeakMap<GuestView, GuestState>();
  /** Why a guest waits for files of its root. */
  imageTrouble: ImageTrouble | undefined;
  /** The last lines of each guest's console, also of one that is not in {@link guests} yet. */
  readonly consoles = new Map<GuestId, readonly string[]>();
  /** Counts changes of the timeline. */
  timelineVersion = 0;
  /** What went wrong, newest last. */
  problems: string[] = [];

  /** `prepare` is called with a new guest, before anybody else has it. Rejects when there is no guest, and has told so. */
  async start(
    options: Omit<StartOptions, 'since'>,
    prepare: (guest: GuestView) => Promise<void> = async () => {},
  ): Promise<void> {
    try {
      checkBrowser();
      this.#load();
      await Promise.race([this.#begin(options, prepare), this.ended]);
    } catch (error) {
      this.#terminate();
      this.progress = undefined;
      this.hasFailed = true;
      if (!this.#isStopped) this.report((error as Error).message);
      throw error;
    }
  }

  async #begin(options: Omit<StartOptions, 'since'>, prepare: (guest: GuestView) => Promise<void>): Promise<void> {
    const { guests, isNew, hasStore, milliseconds, resumed } = await this.worker.start(
      { ...options, since: movedAt(options.store) },
      proxy(this.#page()),
    );
    const views = await Promise.all(guests.map((guest) => this.#viewOf(guest)));
    if (isNew) await this.attempt(prepare(views[0]!));
    this.guests = views;
    if (hasStore) this.#store = options.store;
    this.startTime = milliseconds;
    this.resumed = resumed;
    this.progress = undefined;
    this.#changed();
    this.#tell('ready', null);
  }

  #load(): void {
    this.#thread = new Worker(new URL('../worker/main.js', import.meta.url), { type: 'module', name: 'v86' });
    this.#thread.addEventListener('error', ({ message }) => {
      const reason = `The emulator has stopped: ${message || 'its program could not be fetched'}. Reload the page.`;
      this.isDead = this.startTime !== undefined;
      if (this.isDead) this.report(reason);
      this.#end(new Error(reason));
    });
    this.worker = wrap<WorkerApi>(guarded(this.#thread));
  }

  /** Another guest beside those there are. */
  async fork(from: Parameters<WorkerApi['fork']>[0]): Promise<GuestView> {
    const guest = await this.#viewOf(await this.worker.fork(from));
    this.guests = [...this.guests, guest];
    this.#changed();
    return guest;
  }

  /** See {@link WorkerApi.close}. */
  async close(guest: GuestView, keep = true): Promise<KeepResult> {
    const result = await this.worker.close(guest.id, keep);
    if (result.isDone) {
      this.#drop(guest);
      this.#changed();
    }
    return result;
  }

  #drop(guest: GuestView): void {
    this.guests = this.guests.filter((other) => other !== guest);
    this.consoles.delete(guest.id);
    for (const { id } of guest.shells) this.#streams.delete(`${guest.id}/${id}`);
  }

  /** Stops a guest's device before the next request, or lets it go on. */
  async hold(guest: GuestView, isHeld: boolean): Promise<void> {
    const { inspector } = guest.api;
    await (isHeld ? inspector.hold() : inspector.release());
    guest.isHeld = isHeld;
    this.#changed();
    this.#tellState(this.guests.find(({ root }) => root === guest) ?? guest);
  }

  /** Whether the guest of this view is still here. */
  has(view: GuestView): boolean {
    return this.guests.some((guest) => guest === view || guest.root === view);
  }

  /** Sees to it that a guest which is being moved is gone from here when it is there. `place`: where that is. */
  async moveOut(guest: GuestView, move: Promise<MoveResult>, place: string): Promise<void> {
    const { outcome, began } = await move;
    if (outcome === 'moved') this.#depart(guest, place, began);
    else this.#doubt(guest, began);
    this.#changed();
  }

  /** A reload does not go on from older snapshots of a guest that may run elsewhere. */
  #doubt(guest: GuestView, began: number): void {
    this.undecided.add(guest.id);
    this.#movedBefore = movedAt(this.#store);
    if (this.guests.every(({ id }) => this.undecided.has(id))) rememberMove(this.#store, began);
  }

  async decide(guest: GuestView, runsThere: boolean): Promise<void> {
    await this.worker.moves.decide(guest.id, runsThere);
    this.undecided.delete(guest.id);
    if (runsThere) this.#depart(guest, 'elsewhere', Date.now());
    else rememberMove(this.#store, this.#movedBefore);
    this.#changed();
  }

  #depart(guest: GuestView, place: string, began: number): void {
    this.undecided.delete(guest.id);
    this.#drop(guest);
    this.departed = { name: guest.name, place };
    if (!this.guests.length) rememberMove(this.#store, began);
  }

  /** Another guest beside those there are, from a command line. */
  async takeOver(address: string): Promise<void> {
    const guest = await this.#viewOf(await this.worker.moves.fromAddress(address));
    this.guests = [...this.guests, guest];
    this.#changed();
  }

  async openShell(guest: GuestView): Promise<ShellStream> {
    return this.#addShell(guest, await guest.api.shells.open(NEW_SHELL));
  }

  /** The shell of the lesson under way: see {@link LessonApi.shell}. */
  async lessonShell(guest: GuestView): Promise<ShellStream> {
    const info = await guest.api.lesson.shell(NEW_SHELL);
    return guest.shells.find(({ id }) => id === info.id) ?? this.#addShell(guest, info);
  }

  #addShell(guest: GuestView, info: ShellInfo): ShellStream {
    const shell = this.#stream(guest.id, info);
    guest.shells.push(shell);
    this.#changed();
    return shell;
  }

  /** Runs what may fail, and says so where the visitor sees it. */
  async attempt<T>(action: Promise<T>): Promise<T | undefined> {
    try {
      return await action;
    } catch (error) {
      this.report((error as Error).message);
      return undefined;
    }
  }

  dismissProblem(index: number): void {
    this.problems = this.problems.filter((_, n) => n !== index);
    this.#changed();
  }

  stop(): void {
    this.#isStopped = true;
    this.#terminate();
    this.#end(new Error('this guest was destroyed'));
  }

  #terminate(): void {
    this.#thread?.terminate();
    this.#images.stop();
  }

  #page(): PageApi {
    return {
      progress: (progress) => {
        // After the start something else may still be fetched.
        if (!this.progress) return;
        this.progress = progress;
        this.#changed();
        this.#tell('progress', progress);
      },
      output: (guest, shell, bytes) => {
        this.#tell('output', { guest: this.#nameOf(guest), shell, bytes });
        return this.#streams.get(`${guest}/${shell}`)?.push(bytes);
      },
      shellEnded: (guest, shell) => {
        const view = this.guests.find(({ id }) => id === guest);
        if (view) view.shells = view.shells.filter(({ id }) => id !== shell);
        else this.#ended.add(`${guest}/${shell}`);
        this.#streams.delete(`${guest}/${shell}`);
        this.#changed();
      },
      guestChanged: ({ shells, root, ...info }) => {
        const view = this.guests.find(({ id }) => id === info.id);
        if (!view) {
          for (const shell of shells) {
            this.#ended.delete(`${info.id}/${shell.id}`);
            this.#stream(info.id, shell);
          }
          return;
        }
        for (const shell of view.shells) this.#streams.delete(`${info.id}/${shell.id}`);
        Object.assign(view, info, { shells: shells.map((shell) => this.#stream(info.id, shell)) });
        if (view.root && root) view.root.isHeld = root.isHeld;
        this.#changed();
        this.#tellState(view);
      },
      console: (guest, lines) => {
        this.consoles.set(guest, [...(this.consoles.get(guest) ?? []), ...lines].slice(-CONSOLE_LINES));
        // Otherwise nobody looks at it.
        if (this.guests.every(({ power }) => power === 'on') && !this.progress) return;
        this.#changed();
      },
      moving: (progress) => {
        this.move = progress;
        this.#changed();
      },
      timelineChanged: () => {
        this.timelineVersion++;
        this.#changed();
        this.#tell('timelinechange', null);
      },
      filesChanged: (guest, isRoot) => {
        const found = this.guests.find(({ id }) => id === guest);
        const view = isRoot ? found?.root : found;
        if (view) view.filesVersion++;
        this.#changed();
        if (!isRoot) this.#tell('fileschange', null);
      },
      serveImages: (port) => this.#images.serve(port),
      imageTrouble: (trouble) => {
        const isGivenUp = trouble?.retryIn === undefined;
        this.imageTrouble = isGivenUp ? undefined : trouble;
        if (trouble && isGivenUp) this.report(`Files of the guest’s root can’t be read: ${trouble.message}`);
        else this.#changed();
      },
      problem: (message) => this.report(message),
    };
  }

  async #viewOf({ shells, root, ...info }: GuestInfo): Promise<GuestView> {
    const streams = shells.map((shell) => this.#streams.get(`${info.id}/${shell.id}`) ?? this.#stream(info.id, shell));
    const api = await this.worker.guest(info.id);
    const live = streams.filter(({ id }) => !this.#ended.delete(`${info.id}/${id}`));
    const view: GuestView = { ...info, shells: live, filesVersion: 0, api, root: undefined };
    if (root) view.root = rootOf(view, root);
    this.#states.set(view, stateOf(view));
    return view;
  }

  #stream(guest: GuestId, shell: ShellInfo): ShellStream {
    const stream = new ShellStream(guest, shell);
    this.#streams.set(`${guest}/${shell.id}`, stream);
    return stream;
  }

  /** Says what went wrong where the visitor sees it. */
  report(message: string): void {
    const text = printableLines(message);
    this.problems = [...this.problems.filter((other) => other !== text), text].slice(-4);
    this.#changed();
    this.#tell('problem', message);
  }

  #nameOf(id: GuestId): string {
    return this.guests.find((guest) => guest.id === id)?.name ?? 'guest';
  }

  /** Where it is another one. */
  #tellState(guest: GuestView): void {
    const state = stateOf(guest);
    if (this.#states.get(guest) === state) return;
    this.#states.set(guest, state);
    this.#tell('statechange', { guest: guest.name, state });
  }

  #tell<E extends keyof VmEvents>(event: E, detail: VmEvents[E]): void {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'));
  }
}
