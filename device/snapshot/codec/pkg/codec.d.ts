/* tslint:disable */
/* eslint-disable */

export class Stage {
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Compresses the first `length` bytes staged to right behind them, where `compressed_bound`
     * bytes must be reserved; returns the compressed length.
     */
    compress(length: number): number;
    /**
     * The most bytes that `compress` makes of `length` bytes.
     */
    static compressed_bound(length: number): number;
    /**
     * Decompresses the first `length` bytes staged to right behind them. Refuses what doesn't make
     * exactly `raw_length` bytes, which must be reserved.
     */
    decompress(length: number, raw_length: number): void;
    /**
     * Where the 32 bytes of hash are of all updates since the last digest.
     */
    digest(): number;
    constructor();
    /**
     * Where the staging area begins, after making it at least `length` bytes long. Growing loses
     * what was in it, and may detach the host's views of the memory.
     */
    reserve(length: number): number;
    /**
     * Hashes the first `length` bytes staged, after those of the calls before it.
     */
    update(length: number): void;
}

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly memory: WebAssembly.Memory;
    readonly __wbg_stage_free: (a: number, b: number) => void;
    readonly stage_compress: (a: number, b: number, c: number) => void;
    readonly stage_compressed_bound: (a: number) => number;
    readonly stage_decompress: (a: number, b: number, c: number, d: number) => void;
    readonly stage_digest: (a: number) => number;
    readonly stage_new: () => number;
    readonly stage_reserve: (a: number, b: number, c: number) => void;
    readonly stage_update: (a: number, b: number) => void;
    readonly __wbindgen_add_to_stack_pointer: (a: number) => number;
}

export type SyncInitInput = BufferSource | WebAssembly.Module;

/**
 * Instantiates the given `module`, which can either be bytes or
 * a precompiled `WebAssembly.Module`.
 *
 * @param {{ module: SyncInitInput }} module - Passing `SyncInitInput` directly is deprecated.
 *
 * @returns {InitOutput}
 */
export function initSync(module: { module: SyncInitInput } | SyncInitInput): InitOutput;

/**
 * If `module_or_path` is {RequestInfo} or {URL}, makes a request and
 * for everything else, calls `WebAssembly.instantiate` directly.
 *
 * @param {{ module_or_path: InitInput | Promise<InitInput> }} module_or_path - Passing `InitInput` directly is deprecated.
 *
 * @returns {Promise<InitOutput>}
 */
export default function __wbg_init (module_or_path: { module_or_path: InitInput | Promise<InitInput> } | InitInput | Promise<InitInput>): Promise<InitOutput>;
