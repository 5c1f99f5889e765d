import variant from '@jitl/quickjs-wasmfile-release-sync';
import {
  newQuickJSWASMModuleFromVariant,
  type QuickJSContext,
  type QuickJSHandle,
  type QuickJSSyncVariant,
  shouldInterruptAfterDeadline,
} from 'quickjs-emscripten-core';
import type { BareMachine } from './machine.ts';

/** Of the engine, in bytes. */
const MEMORY = 32 << 20;
const STACK = 64 << 10;
/** What it may write: lines, and characters of each. */
const MAX_LINES = 500;
const MAX_LINE = 500;
/** Bytes that go between a program and RAM at once. */
const MAX_BYTES = 1 << 20;

/** Its types are those of a CommonJS module, which it is not here. */
const VARIANT = variant as unknown as QuickJSSyncVariant;

/** What each program begins with: the machine, with names. */
const PRELUDE = `
globalThis.pci = { read8: (at) => __config(at, 1), read16: (at) => __config(at, 2), read32: (at) => __config(at, 4),
  write8: (at, value) => __writeConfig(at, 1, value), write16: (at, value) => __writeConfig(at, 2, value), write32: (at, value) => __writeConfig(at, 4, value) };
globalThis.inb = (port) => __in(port, 1); globalThis.inw = (port) => __in(port, 2); globalThis.inl = (port) => __in(port, 4);
globalThis.outb = (port, value) => __out(port, 1, value); globalThis.outw = (port, value) => __out(port, 2, value); globalThis.outl = (port, value) => __out(port, 4, value);
globalThis.ram = { read8: (at) => __ram(at, 1), read16: (at) => __ram(at, 2), read32: (at) => __ram(at, 4),
  read64: (at) => __ram(at, 4) + 2 ** 32 * __ram(at + 4, 4),
  write8: (at, value) => __writeRam(at, 1, value), write16: (at, value) => __writeRam(at, 2, value), write32: (at, value) => __writeRam(at, 4, value),
  write64: (at, value) => { __writeRam(at, 4, Number(BigInt(value) & 0xffffffffn)); __writeRam(at + 4, 4, Number(BigInt(value) >> 32n)); },
  readText: (at, length) => __text(at, length), writeText: (at, text) => { for (let n = 0; n < text.length; n++) __writeRam(at + n, 1, text.charCodeAt(n)); } };
`;

/**
 * Runs a program of somebody else against a bare machine, in an engine of its own that has nothing but the machine: no page, no network, no
 * files, and an end to its time (`patience`, in milliseconds) and memory. Returns what it wrote, and what it threw.
 */
export async function runProgram(
  machine: BareMachine,
  program: string,
  patience: number,
): Promise<{ output: string[]; error: string }> {
  const engine = await newQuickJSWASMModuleFromVariant(VARIANT);
  const runtime = engine.newRuntime();
  runtime.setMemoryLimit(MEMORY);
  runtime.setMaxStackSize(STACK);
  runtime.setInterruptHandler(shouldInterruptAfterDeadline(Date.now() + patience));
  const context = runtime.newContext();
  const output: string[] = [];
  try {
    for (const [name, call] of Object.entries(callsOf(machine))) define(context, name, call);
    define(context, 'log', (...values) => {
      if (output.length < MAX_LINES) output.push(values.map(shown).join(' ').slice(0, MAX_LINE));
      if (output.length === MAX_LINES) output.push(`(more than ${MAX_LINES} lines)`);
    });
    context.unwrapResult(context.evalCode(PRELUDE, 'prelude.js')).dispose();
    const result = context.evalCode(program, 'driver.js');
    if (result.error) {
      const error = explained(context.dump(result.error), patience);
      result.error.dispose();
      return { output, error };
    }
    result.value.dispose();
    return { output, error: '' };
  } catch (error) {
    // The engine itself has come to its limits.
    return { output, error: `The program was stopped: ${(error as Error).message}` };
  } finally {
    // What a program that was stopped has left can't always be taken back; the engine goes with the worker.
    try {
      context.dispose();
      runtime.dispose();
    } catch {
      // As above.
    }
  }
}

type Call = (...values: unknown[]) => number | string | void;

function callsOf(machine: BareMachine): Record<string, Call> {
  const { ram } = machine;
  const reads: Record<number, (address: number) => number> = {
    1: (address) => ram.readU8(address),
    2: (address) => ram.readU16(address),
    4: (address) => ram.readU32(address),
  };
  const writes: Record<number, (address: number, value: number) => void> = {
    1: (address, value) => ram.writeU8(address, value),
    2: (address, value) => ram.writeU16(address, value),
    4: (address, value) => ram.writeU32(address, value),
  };
  return {
    __config: (at, width) => machine.readConfig(integer(at), integer(width)),
    __writeConfig: (at, width, value) => machine.writeConfig(integer(at), integer(width), unsigned(value, width)),
    __in: (port, width) => machine.in(integer(port), integer(width)),
    __out: (port, width, value) => machine.out(integer(port), integer(width), unsigned(value, width)),
    __ram: (at, width) => reads[integer(width)]!(integer(at)),
    __writeRam: (at, width, value) => writes[integer(width)]!(integer(at), unsigned(value, width)),
    __text: (at, length) => {
      const bytes = new Uint8Array(Math.min(integer(length), MAX_BYTES));
      ram.read(integer(at), bytes, 0, bytes.length);
      return new TextDecoder().decode(bytes);
    },
    irq: () => Number(machine.isInterrupting),
  };
}

function integer(value: unknown): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < 0) throw new RangeError(`${shown(value)} is not an address or a size`);
  return number;
}

/** The low bits of a number, as a register of this width takes them. */
function unsigned(value: unknown, width: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw new TypeError(`${shown(value)} is not a whole number`);
  return Number(BigInt.asUintN(8 * Number(width), BigInt(value)));
}

function shown(value: unknown): string {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
}

/** What the engine's errors say, with the line of the program. */
function explained(error: unknown, patience: number): string {
  if (typeof error !== 'object' || error === null) return String(error);
  const { name = 'Error', message = '', stack = '' } = error as Partial<Error>;
  if (message === 'interrupted') return `The program took longer than ${patience / 1000} s, and was stopped.`;
  const line = /driver\.js:(\d+)/.exec(String(stack))?.[1];
  return `${name}: ${message}${line ? ` (line ${line})` : ''}`.slice(0, MAX_LINE);
}

function define(context: QuickJSContext, name: string, call: Call): void {
  const handle = context.newFunction(name, (...handles: QuickJSHandle[]) => {
    const value = call(...handles.map((each) => context.dump(each)));
    if (typeof value === 'number') return context.newNumber(value);
    return typeof value === 'string' ? context.newString(value) : context.undefined;
  });
  context.setProp(context.global, name, handle);
  handle.dispose();
}
