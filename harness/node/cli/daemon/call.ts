import { isatty } from 'node:tty';
import { buildIdentity, identityOf } from './place.ts';
import { PROTOCOL } from './wire.ts';

/** What a client asks for, and all that its process has and a command of it depends on. */
export interface Call {
  protocol: number;
  build: string;
  /** Words of the command line. */
  args: string[];
  cwd: string;
  /** The root directory and the current one, as {@link identityOf} tells them: somebody in a container may see others. */
  places: string[];
  /** User and groups. */
  ids: number[];
  umask: number;
  env: Record<string, string>;
  /** Which of stdin, stdout and stderr are terminals. */
  terminals: boolean[];
  columns: number;
  rows: number;
}

/** Who this process is, as {@link Call.ids} has it. */
export function ownIds(): number[] {
  return [process.getuid!(), process.getgid!(), ...process.getgroups!().sort((a, b) => a - b)];
}

export function makeCall(args: string[]): Call {
  const terminals = [isatty(0), isatty(1), isatty(2)];
  // The streams are made when they are needed, which takes time.
  const { columns = 80, rows = 24 } = terminals[1] ? process.stdout : {};
  return {
    protocol: PROTOCOL,
    build: buildIdentity(),
    args,
    cwd: process.cwd(),
    places: [identityOf('/'), identityOf('.')],
    ids: ownIds(),
    umask: process.umask(),
    env: process.env as Record<string, string>,
    terminals,
    columns: columns || 80,
    rows: rows || 24,
  };
}

const isText = (value: unknown): value is string => typeof value === 'string' && !value.includes('\0');
const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
const isSize = (value: unknown): value is number => isCount(value) && value > 0 && value < 65_536;
const isList = <T>(value: unknown, isOne: (one: unknown) => one is T): value is T[] =>
  Array.isArray(value) && value.every(isOne);

/** What somebody has sent. Undefined for what is no call, or of another protocol. */
export function readCall(bytes: Uint8Array): Call | undefined {
  let call: Partial<Call>;
  try {
    call = JSON.parse(Buffer.from(bytes).toString()) as Partial<Call>;
  } catch {
    return undefined;
  }
  if (typeof call !== 'object' || call === null || call.protocol !== PROTOCOL) return undefined;
  const { build, args, cwd, places, ids, umask, env, terminals, columns, rows } = call;
  if (!isText(build) || !isList(args, isText) || !isText(cwd) || !isList(places, isText) || !isList(ids, isCount))
    return undefined;
  if (!isCount(umask) || umask > 0o777 || !isSize(columns) || !isSize(rows)) return undefined;
  if (!isList(terminals, (one) => typeof one === 'boolean') || terminals.length !== 3) return undefined;
  if (typeof env !== 'object' || env === null || Array.isArray(env)) return undefined;
  for (const [name, value] of Object.entries(env))
    if (!name || name.includes('=') || !isText(name) || !isText(value)) return undefined;
  return { protocol: PROTOCOL, build, args, cwd, places, ids, umask, env, terminals, columns, rows };
}

/** Gives this process other variables, all of them. Returns how to take that back. */
export function takeEnvironment(env: Record<string, string>): () => void {
  const before = { ...process.env };
  replace(env);
  return () => replace(before);
}

function replace(env: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(process.env)) if (!Object.hasOwn(env, name)) delete process.env[name];
  Object.assign(process.env, env);
}
