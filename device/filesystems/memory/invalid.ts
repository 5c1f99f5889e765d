/** @throws TypeError that says what is wrong with the state of a filesystem. */
export function fail(what: string): never {
  throw new TypeError(`the filesystem state is invalid: ${what}`);
}

export function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) fail(`${what} is missing`);
  return value as Record<string, unknown>;
}

export function list<T>(value: unknown, what: string): T[] {
  if (!Array.isArray(value)) fail(`${what} is not a list`);
  return value as T[];
}
