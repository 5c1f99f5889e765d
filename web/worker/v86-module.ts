import { request } from './network.ts';

let compiled: Promise<WebAssembly.Module> | undefined;

/** One compilation of v86 for all guests of this worker; whoever will need it later may begin it. */
export function compileV86(): Promise<WebAssembly.Module> {
  return (compiled ??= request(new URL('./v86.wasm', import.meta.url), async (response) => {
    // Servers that don't know such files call them something else.
    const isNamed = response.headers.get('content-type') === 'application/wasm';
    return isNamed ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
  }));
}
