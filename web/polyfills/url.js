/** In place of Node's `url`: all of it that memfs uses. */
export const { URL } = globalThis;
