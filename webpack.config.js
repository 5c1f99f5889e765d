import { fileURLToPath } from 'node:url';

/** Bundles for pages, made from what `tsc` puts into dist/. */
export default {
  mode: 'production',
  target: 'web',
  devtool: 'source-map',
  entry: { 'v86-virtiofs': './dist/device/index.js' },
  experiments: { outputModule: true },
  output: {
    path: fileURLToPath(new URL('dist/web', import.meta.url)),
    filename: '[name].js',
    library: { type: 'module' },
  },
  performance: { hints: false },
};
