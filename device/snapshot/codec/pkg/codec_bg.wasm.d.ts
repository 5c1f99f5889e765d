/* tslint:disable */
/* eslint-disable */
export const memory: WebAssembly.Memory;
export const __wbg_stage_free: (a: number, b: number) => void;
export const stage_compress: (a: number, b: number, c: number) => void;
export const stage_compressed_bound: (a: number) => number;
export const stage_decompress: (a: number, b: number, c: number, d: number) => void;
export const stage_digest: (a: number) => number;
export const stage_new: () => number;
export const stage_reserve: (a: number, b: number, c: number) => void;
export const stage_update: (a: number, b: number) => void;
export const __wbindgen_add_to_stack_pointer: (a: number) => number;
