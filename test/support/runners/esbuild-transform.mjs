import { transformSync } from 'esbuild';

/** TypeScript for jest. */
export default {
  /** @param {string} source @param {string} sourcefile */
  process: (source, sourcefile) =>
    transformSync(source, { loader: 'ts', format: 'esm', target: 'es2022', sourcefile, sourcemap: 'inline' }),
};
