import type { Endpoint } from 'comlink';

/** What Comlink's messages ask for that this page's do too: of others, such as constructing something, there are none. */
const CALLS = new Set<unknown>(['GET', 'APPLY', 'RELEASE']);
/** Parts of a path that no interface has, and every object. */
const NEVER = new Set<unknown>(['__proto__', 'constructor', 'prototype']);
const MAX_PATH = 10;
const MAX_ARGUMENTS = 20;

/** Whether this is a message as Comlink sends them: a call of what is exposed, or the answer to one. Never throws for what a port brings. */
export function isComlinkMessage(data: unknown): boolean {
  if (!isObject(data) || typeof data['id'] !== 'string') return false;
  const { type, path = [], argumentList = [] } = data;
  // Both ends look at all of it, whichever it is.
  return (
    (CALLS.has(type) || isAnswer(data)) &&
    isListOf(path, MAX_PATH, (part) => typeof part === 'string' && !NEVER.has(part)) &&
    isListOf(argumentList, MAX_ARGUMENTS, isArgument)
  );
}

function isArgument(value: unknown): boolean {
  return isObject(value) && (value['type'] === 'RAW' || isProxy(value));
}

function isAnswer(value: Record<string, unknown>): boolean {
  return (
    value['type'] === 'RAW' ||
    isProxy(value) ||
    (value['type'] === 'HANDLER' && value['name'] === 'throw' && isObject(value['value']))
  );
}

/** A function or an object of the other side, which is called over a port of its own. */
function isProxy({ type, name, value }: Record<string, unknown>): boolean {
  return type === 'HANDLER' && name === 'proxy' && value instanceof MessagePort;
}

function isListOf(value: unknown, limit: number, is: (each: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length <= limit && value.every(is);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** An endpoint of which Comlink gets to see its own messages only. */
export function guarded(endpoint: Endpoint): Endpoint {
  const listeners = new Map<EventListenerOrEventListenerObject, EventListener>();
  return {
    postMessage: (message, transfer) => endpoint.postMessage(message, transfer ?? []),
    addEventListener(type, listener, options) {
      const hear = (event: Event) => {
        if (!isComlinkMessage((event as MessageEvent).data)) return;
        if (typeof listener === 'function') listener(event);
        else listener.handleEvent(event);
      };
      listeners.set(listener, hear);
      endpoint.addEventListener(type, hear, options);
    },
    removeEventListener(type, listener, options) {
      endpoint.removeEventListener(type, listeners.get(listener) ?? listener, options);
      listeners.delete(listener);
    },
    start: () => endpoint.start?.(),
  };
}
