import { fileURLToPath } from 'node:url';
import webpack from 'webpack';

/** What memfs expects of Node, for pages. */
const NODE_MODULES = {
  buffer: 'buffer/', events: 'events/', path: 'path-browserify', stream: 'readable-stream', url: 'url/', process: 'process/browser.js',
};

/** The library as one module for pages, made from what `tsc` puts into dist/, memfs included. */
export default {
  mode: 'production',
  target: 'web',
  devtool: 'source-map',
  entry: { 'v86-virtiofs': './dist/device/index.js' },
  experiments: { outputModule: true },
  output: {
    path: fileURLToPath(new URL('dist/web', import.meta.url)),
    library: { type: 'module' },
  },
  resolve: { fallback: NODE_MODULES },
  plugins: [
    new webpack.NormalModuleReplacementPlugin(/^node:/, (resource) => {
      resource.request = resource.request.slice('node:'.length);
    }),
    new webpack.ProvidePlugin({ process: 'process/browser.js' }),
  ],
  performance: { hints: false },
};
