import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import webpack from 'webpack';

/** @typedef {import('webpack').Compiler} Compiler */

/** @param {string} name */
const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** What memfs expects of Node, for pages. */
const NODE_MODULES = {
  buffer: 'buffer/',
  events: 'events/',
  path: 'path-browserify',
  stream: 'readable-stream',
  url: 'url/',
  process: 'process/browser.js',
};

/** licenses.txt: the license of each package that a bundle has something of, as most of them want it. */
class Licenses {
  /** @param {Compiler} compiler */
  apply(compiler) {
    compiler.hooks.thisCompilation.tap('Licenses', (compilation) => {
      compilation.hooks.processAssets.tap(
        { name: 'Licenses', stage: webpack.Compilation.PROCESS_ASSETS_STAGE_REPORT },
        () => {
          /** @type {Set<string>} */
          const packages = new Set();
          /** @param {any} module */
          const visit = ({ resource, modules }) => {
            const [place] = /.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(resource ?? '') ?? [];
            if (place) packages.add(place);
            for (const module of modules ?? []) visit(module);
          };
          for (const module of compilation.modules) visit(module);
          const texts = [...packages].sort().map((place) => {
            const { name, version, license } = JSON.parse(readFileSync(`${place}/package.json`, 'utf8'));
            const file = readdirSync(place).find((name) => /^licen[cs]e/i.test(name));
            return `${name} ${version}: ${license}\n\n${file ? readFileSync(`${place}/${file}`, 'utf8').trim() : 'The package has no text of it.'}\n`;
          });
          compilation.emitAsset('licenses.txt', new webpack.sources.RawSource(texts.join(`\n${'-'.repeat(72)}\n\n`)));
        },
      );
    });
  }
}

/** Both are made from what `tsc` puts into dist/. */
const common = {
  mode: 'production',
  target: ['web', 'es2022'],
  devtool: 'source-map',
  experiments: { outputModule: true },
  resolve: { fallback: NODE_MODULES },
  plugins: [
    new Licenses(),
    new webpack.NormalModuleReplacementPlugin(/^node:/, (resource) => {
      resource.request = resource.request.slice('node:'.length);
    }),
    new webpack.ProvidePlugin({ process: 'process/browser.js' }),
  ],
  performance: { hints: false },
  cache: {
    type: 'filesystem',
    cacheDirectory: path('.cache/webpack'),
    buildDependencies: { config: [path('webpack.config.js')] },
  },
};

/** The library as one module for pages, memfs included. */
const library = {
  ...common,
  name: 'library',
  // A part of memfs that nothing here uses.
  resolve: { ...common.resolve, alias: { '@jsonjoy.com/fs-snapshot': false } },
  entry: { 'v86-virtiofs': './dist/device/index.js' },
  output: {
    path: path('dist/web'),
    library: { type: 'module' },
  },
};

/** What pages of this build may do, as in the header that web/build/serve.ts sends. */
const POLICY = Object.entries(JSON.parse(readFileSync(path('web/policy.json'), 'utf8')))
  .map((directive) => directive.join(' '))
  .join('; ');

/** index.html, with the script's name of this build, and its policy. */
class IndexHtml {
  /** @param {Compiler} compiler */
  apply(compiler) {
    compiler.hooks.thisCompilation.tap('IndexHtml', (compilation) => {
      for (const file of ['web/index.html', 'web/policy.json']) compilation.fileDependencies.add(path(file));
      compilation.hooks.processAssets.tap(
        { name: 'IndexHtml', stage: webpack.Compilation.PROCESS_ASSETS_STAGE_REPORT },
        () => {
          const files = compilation.entrypoints.get('main')?.getFiles();
          const script = files?.find((name) => name.endsWith('.js'));
          const html = readFileSync(path('web/index.html'), 'utf8')
            .replace('src="main.js"', `src="${script}"`)
            .replace('content="POLICY"', `content="${POLICY}"`);
          compilation.emitAsset('index.html', new webpack.sources.RawSource(html));
        },
      );
    });
  }
}

/** Tells the service worker which files the page has, but for what only debugging needs. */
class OfflineFiles {
  /** @param {Compiler} compiler */
  apply(compiler) {
    compiler.hooks.thisCompilation.tap('OfflineFiles', (compilation) => {
      compilation.hooks.processAssets.tap(
        { name: 'OfflineFiles', stage: webpack.Compilation.PROCESS_ASSETS_STAGE_REPORT + 1 },
        (assets) => {
          const files = Object.keys(assets).filter(
            (name) =>
              !/\.(map|txt)$|^(example|one-script)|^course\/|^index\.html$/.test(name) && name !== SERVICE_WORKER,
          );
          compilation.updateAsset(
            SERVICE_WORKER,
            (source) =>
              new webpack.sources.RawSource(
                `const FILES = ${JSON.stringify(['./', ...files.sort()])};\n${source.source()}`,
              ),
          );
        },
      );
    });
  }
}

/** Files that are taken as they are, by their names in the output. */
class Copies {
  /** @param {Record<string, string>} files */
  constructor(files) {
    this.files = files;
  }

  /** @param {Compiler} compiler */
  apply(compiler) {
    compiler.hooks.thisCompilation.tap('Copies', (compilation) => {
      compilation.hooks.processAssets.tap(
        { name: 'Copies', stage: webpack.Compilation.PROCESS_ASSETS_STAGE_ADDITIONAL },
        () => {
          for (const [name, file] of Object.entries(this.files))
            compilation.emitAsset(name, new webpack.sources.RawSource(readFileSync(file)), { minimized: true });
        },
      );
    });
  }
}

/** Takes the sections out of .wasm files that no browser needs: v86's has debugging information, a quarter of it. */
class StripWasm {
  /** @param {Compiler} compiler */
  apply(compiler) {
    compiler.hooks.thisCompilation.tap('StripWasm', (compilation) => {
      compilation.hooks.processAssets.tap(
        { name: 'StripWasm', stage: webpack.Compilation.PROCESS_ASSETS_STAGE_OPTIMIZE_SIZE },
        (assets) => {
          for (const [name, source] of Object.entries(assets)) {
            if (name.endsWith('.wasm'))
              compilation.updateAsset(name, new webpack.sources.RawSource(withoutCustomSections(source.buffer())));
          }
        },
      );
    });
  }
}

/**
 * WebAssembly core specification, 5.5.2: each section has an id, 0 of custom ones, and its size in LEB128.
 * @param {Buffer} wasm
 */
function withoutCustomSections(wasm) {
  const kept = [wasm.subarray(0, 8)];
  for (let at = 8; at < wasm.length; ) {
    const start = at++;
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = wasm.readUInt8(at++);
      size |= (byte & 0x7f) << shift;
      if (!(byte & 0x80)) break;
    }
    at += size;
    if (wasm[start] !== 0) kept.push(wasm.subarray(start, at));
  }
  return Buffer.concat(kept);
}

/** Browsers look for it by this name. */
const SERVICE_WORKER = 'service-worker.js';

/** What page and element have in common. */
const browser = {
  ...common,
  module: { rules: [{ test: /\.(css|md)$/, type: 'asset/source' }] },
  resolve: {
    alias: {
      memfs: path('web/polyfills/memfs.js'),
      './v86.wasm': 'v86/build/v86.wasm',
    },
    // v86 asks for these in Node only.
    fallback: { ...NODE_MODULES, crypto: false, fs: false, 'fs/promises': false, perf_hooks: false },
  },
  // v86 takes whatever has a `process` for Node.
  plugins: [
    ...common.plugins,
    new webpack.DefinePlugin({ 'typeof process': '"undefined"' }),
    // Lessons are not in dist/.
    new webpack.NormalModuleReplacementPlugin(/\/course\/[\w-]+\.md$/, (resource) => {
      resource.request = path(`web/course/${resource.request.split('/').at(-1)}`);
    }),
  ],
};

/** The page: static files that may lie under any path of any server. web/build/guest.ts and debian.ts add the guests. */
const page = {
  ...browser,
  name: 'page',
  entry: { main: './dist/web/page/main.js', 'service-worker': './dist/web/page/service-worker.js' },
  output: {
    path: path('dist/page'),
    /** @param {{ chunk?: { name?: string } }} data */
    filename: ({ chunk }) => (`${chunk?.name}.js` === SERVICE_WORKER ? SERVICE_WORKER : '[name]-[contenthash:12].js'),
    chunkFilename: '[name]-[contenthash:12].js',
    assetModuleFilename: '[name]-[contenthash:12][ext]',
    publicPath: 'auto',
    clean: { keep: /^(guest|debian|embed)\// },
  },
  plugins: [
    ...browser.plugins,
    new IndexHtml(),
    new Copies({
      'example.html': path('web/example.html'),
      'example.js': path('web/example.js'),
      'one-script.html': path('web/one-script.html'),
      'manifest.webmanifest': path('web/manifest.webmanifest'),
      'icon.svg': path('web/icon.svg'),
      // The built-in course, as one that others host: docs/write-a-course.md.
      ...Object.fromEntries(
        readdirSync(path('web/course')).map((name) => [`course/${name}`, path(`web/course/${name}`)]),
      ),
    }),
    new OfflineFiles(),
    new StripWasm(),
  ],
};

/**
 * The element and its worker as modules for other pages and their bundlers: `new URL('…', import.meta.url)` stays as it
 * is, so that the files lie to each other as their sources do.
 */
const embed = {
  ...browser,
  name: 'embed',
  entry: {
    'page/virtiofs-vm': './dist/web/page/index.js',
    'worker/main': './dist/web/worker/main.js',
    'worker/images': './dist/web/worker/images.js',
    'worker/bare': './dist/web/worker/bare.js',
  },
  output: {
    path: path('dist/page/embed'),
    filename: '[name].js',
    library: { type: 'module' },
    clean: true,
  },
  module: {
    ...browser.module,
    parser: { javascript: { url: false, worker: false, importMeta: false, dynamicImportMode: 'eager' } },
  },
  plugins: [
    ...browser.plugins,
    new Copies({
      'worker/v86.wasm': path('node_modules/v86/build/v86.wasm'),
      'worker/emscripten-module.wasm': path(
        'node_modules/@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm',
      ),
    }),
    new StripWasm(),
  ],
};

/** The command line in a few files instead of hundreds, which Node would look for and read one by one. */
const cli = {
  name: 'cli',
  mode: 'production',
  target: 'node20.19',
  devtool: 'source-map',
  experiments: { outputModule: true },
  entry: {
    'v86-virtiofs': './dist/harness/node/cli.js',
    // Looked for beside the others by its name.
    'vm-thread': './dist/harness/node/workers/vm-thread.js',
  },
  output: {
    path: path('dist/cli'),
    filename: '[name].mjs',
    chunkFilename: '[name]-[contenthash:12].mjs',
    library: { type: 'module' },
    clean: true,
  },
  // Both look for other files of the package from where they are themselves.
  module: { parser: { javascript: { importMeta: false, createRequire: false } } },
  // ws does without the last two.
  externals: {
    v86: 'module v86',
    tinypool: 'module tinypool',
    // Asked for when a store is in a bucket, and may be missing.
    '@aws-sdk/client-s3': 'import @aws-sdk/client-s3',
    bufferutil: 'node-commonjs bufferutil',
    'utf-8-validate': 'node-commonjs utf-8-validate',
  },
  plugins: [new Licenses(), new webpack.BannerPlugin({ banner: '#!/usr/bin/env node', raw: true, entryOnly: true })],
  // So that an error tells where it comes from.
  optimization: { minimize: false },
  performance: { hints: false },
  cache: common.cache,
};

export default [library, cli, page, embed];
