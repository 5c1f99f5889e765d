import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { VmError } from '../../../machine/errors.ts';
import { directoryOf, distrust, identityOf } from './place.ts';
import { type Frame, FrameReader, LONGEST_CALL } from './wire.ts';

/** Milliseconds that a caller has to say what he wants. */
const PATIENCE = 5000;
/** Callers who have not said it. */
const MAX_CALLERS = 64;
/** Milliseconds between looks whether the socket is still where it was put. */
const LOOK = 5000;
/** Bytes of a socket's path, of the systems that take least. */
const LONGEST_PATH = 103;

/** The socket at which a daemon is called. */
export class Door {
  readonly #server: Server;
  readonly #path: string;
  readonly #identity: string;
  readonly #look: NodeJS.Timeout;

  private constructor(server: Server, path: string, onReplaced: () => void) {
    this.#server = server;
    this.#path = path;
    this.#identity = identityOf(path);
    this.#look = setInterval(() => this.#isThere || onReplaced(), LOOK);
    this.#look.unref();
  }

  /**
   * Listens at `path`, in a directory that only this user can look into, which is made. Who listened there before is not called any more. `onCall`
   * gets the first message of each caller, and the socket, from which nothing more is read. `onReplaced`: there is another socket, or none.
   *
   * @throws VmError `configuration`.
   */
  static async open(
    path: string,
    onCall: (frame: Frame, socket: Socket) => void,
    onReplaced: () => void,
  ): Promise<Door> {
    const directory = directoryOf(path);
    const temporary = `${path}.${process.pid}`;
    if (Buffer.byteLength(temporary) > LONGEST_PATH)
      throw new VmError('configuration', `${path} is too long for a socket: name a shorter one in V86_VIRTIOFS_DAEMON`);
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new VmError('configuration', `can't make ${directory} for the socket: ${(error as Error).message}`);
    }
    const doubt = distrust(directory);
    if (doubt !== undefined)
      throw new VmError(
        'configuration',
        `${doubt}, so the socket can't be there: give it mode 700, or name another place in V86_VIRTIOFS_DAEMON`,
      );
    rmSync(temporary, { force: true });
    const server = createServer((socket) => answer(socket, onCall));
    server.maxConnections = MAX_CALLERS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(new VmError('configuration', `can't listen at ${path}: ${error.message}`, { cause: error })),
      );
      server.listen(temporary, resolve);
    });
    server.on('error', () => {});
    chmodSync(temporary, 0o600);
    renameSync(temporary, path);
    return new Door(server, path, onReplaced);
  }

  get #isThere(): boolean {
    try {
      return identityOf(this.#path) === this.#identity;
    } catch {
      return false;
    }
  }

  /** Callers who have not been answered still are. */
  close(): void {
    clearInterval(this.#look);
    this.#server.close();
    if (this.#isThere) rmSync(this.#path, { force: true });
  }
}

/** Reads one message. A caller that says nothing, or something else, is left. */
function answer(socket: Socket, onCall: (frame: Frame, socket: Socket) => void): void {
  const reader = new FrameReader(LONGEST_CALL);
  const leave = () => socket.destroy();
  const timer = setTimeout(leave, PATIENCE);
  const listen = (chunk: Buffer) => {
    try {
      const [frame, more] = reader.push(chunk);
      if (!frame) return;
      clearTimeout(timer);
      // He has to wait for the answer.
      if (more || reader.rest) return leave();
      socket.off('data', listen).pause();
      onCall(frame, socket);
    } catch {
      leave();
    }
  };
  socket.on('data', listen);
  socket.on('error', () => {}).on('close', () => clearTimeout(timer));
}
