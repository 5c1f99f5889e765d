import { type MessagePort, workerData } from 'node:worker_threads';
import { copyOf } from '../../../device/bytes.ts';
import { loadCodec, SnapshotStore } from '../../../device/index.ts';
import type { GuestProcess } from '../../machine/agent/guest-process.ts';
import { openFiles } from '../stores/open-files.ts';
import { useV86 } from '../v86.ts';
import { Vm } from '../vm.ts';
import type { VmOptions } from '../vm-options.ts';
import {
  type FromThread,
  failureOf,
  type Outcome,
  type Output,
  type Task,
  type ThreadData,
  type ToThread,
} from './messages.ts';

const [, { store, id, options, wasm, rewinds }] = workerData as [unknown, ThreadData];
useV86(wasm);
const opened = SnapshotStore.open(openFiles(store), loadCodec());
// Whoever asks for a machine is told.
opened.catch(() => {});
/** Of all machines. */
const ports = new Set<MessagePort>();
const vmOptions: VmOptions = {
  ...options,
  onImageTrouble: (message) => {
    for (const port of ports) return port.postMessage({ say: 'trouble', message } satisfies FromThread);
  },
};
/** Machines that wait, in emulators that others have left. */
const rewound: Vm[] = [];
let pinned: Promise<() => void> | undefined;
let inMaking = 0;

/** One machine, until it is given back. */
export async function serve({ port }: Task): Promise<Outcome> {
  let vm: Vm;
  ports.add(port);
  try {
    const next = rewound.pop() ?? (await make());
    await next.orStop(() => next.start());
    vm = next;
    await new Commands(vm, port).released;
  } catch (error) {
    return { failure: failureOf(error) };
  } finally {
    ports.delete(port);
  }
  const next = rewinds ? await Vm.recycle(vm, 'this machine was given back', await opened, id, vmOptions) : undefined;
  if (next) rewound.push(next);
  else await vm.stop();
  return {};
}

/** Those that are made at a time read the snapshot once. */
async function make(): Promise<Vm> {
  const store = await opened;
  inMaking++;
  try {
    pinned ??= store.pin(id);
    await pinned;
    return await Vm.prepare(store, id, vmOptions);
  } finally {
    inMaking--;
    if (!inMaking && !rewinds) {
      const unpin = pinned?.catch(() => {});
      pinned = undefined;
      (await unpin)?.();
    }
  }
}

const OUTPUTS: readonly Output[] = ['stdout', 'stderr'];

/** What runs in a machine for another thread. */
class Commands {
  readonly released: Promise<void>;
  readonly #vm: Vm;
  readonly #port: MessagePort;
  readonly #commands = new Map<number, GuestProcess>();
  /** By command and output: those that wait until what they have said was taken. */
  readonly #untaken = new Map<string, (() => void)[]>();

  constructor(vm: Vm, port: MessagePort) {
    this.#vm = vm;
    this.#port = port;
    this.released = new Promise((resolve) => {
      port.on('message', (message: ToThread) => (message.do === 'release' ? resolve() : this.#obey(message)));
      // Nobody is there any more.
      port.on('close', resolve);
    });
    this.#say({ say: 'ready', shares: vm.shares.map(({ tag, isRoot, mountPoint }) => ({ tag, isRoot, mountPoint })) });
  }

  #say(message: FromThread, moved: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, moved);
  }

  #obey(message: Exclude<ToThread, { do: 'release' }>): void {
    const { command } = message;
    if (message.do === 'spawn') return this.#spawn(message);
    const process = this.#commands.get(command);
    switch (message.do) {
      case 'kill':
        return process?.kill(message.signal);
      case 'write':
        void process?.write(message.data).then(
          () => this.#say({ say: 'written', command }),
          (error) => this.#say({ say: 'written', command, failure: failureOf(error) }),
        );
        return;
      case 'closeStdin':
        return process?.closeStdin();
      case 'resize':
        return process?.resize(message.columns, message.rows);
      case 'take':
        return this.#untaken.get(`${command} ${message.output}`)?.shift()?.();
    }
  }

  #spawn({ command, argv, options }: Extract<ToThread, { do: 'spawn' }>): void {
    let process: GuestProcess;
    try {
      process = this.#vm.spawn(argv, options);
    } catch (error) {
      return this.#say({ say: 'failed', command, failure: failureOf(error) });
    }
    this.#commands.set(command, process);
    const pass = (output: Output) => {
      const untaken: (() => void)[] = [];
      this.#untaken.set(`${command} ${output}`, untaken);
      return (data: Uint8Array) => {
        const own = copyOf(data);
        this.#say({ say: output, command, data: own }, [own.buffer]);
        return new Promise<void>((taken) => untaken.push(taken));
      };
    };
    process.onStdout = pass('stdout');
    process.onStderr = pass('stderr');
    void process.exited
      .then(
        (code) => this.#say({ say: 'exited', command, code }),
        (error) => this.#say({ say: 'failed', command, failure: failureOf(error) }),
      )
      .finally(() => {
        this.#commands.delete(command);
        for (const output of OUTPUTS) this.#untaken.delete(`${command} ${output}`);
      });
  }
}
