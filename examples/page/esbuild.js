// esbuild: v86 asks for Node's modules in Node only, so pages can do without them.
import { build } from 'esbuild';

await build({
  entryPoints: ['own-page.ts'],
  bundle: true,
  format: 'esm',
  target: 'es2022',
  outdir: 'public',
  external: ['node:*', 'crypto', 'fs', 'perf_hooks'],
});
