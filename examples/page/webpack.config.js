// webpack 5: v86 asks for Node's modules in Node only, so pages can do without them.
import webpack from 'webpack';

export default {
  mode: 'production',
  entry: { 'own-page': './own-page.js', embedded: './embedded.js' },
  target: ['web', 'es2022'],
  output: { path: `${import.meta.dirname}/public`, filename: '[name].js', library: { type: 'module' } },
  experiments: { outputModule: true },
  resolve: { fallback: { crypto: false, fs: false, perf_hooks: false } },
  plugins: [new webpack.IgnorePlugin({ resourceRegExp: /^node:/ })],
};
