// Builds the site: documentation and API by TypeDoc, and the page beside them; then follows every link. `npm run site` in the project's root.
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LinkChecker } from 'linkinator';
import { Application, Converter, JSX, KindRouter } from 'typedoc';

const ROOT = join(import.meta.dirname, '..');
const SITE = join(ROOT, 'build/site');
const PAGE = join(ROOT, 'dist/page');

/** Methods as browsers and v86 have them, which need no words here. */
const NATIVE = {
  PortLike: ['postMessage', 'addEventListener', 'removeEventListener', 'start'],
  WebSocketLike: ['send', 'close', 'addEventListener'],
  V86Like: ['is_running', 'run', 'stop', 'destroy'],
};

/** The kind of each page, by its path below docs/: the index has them below headings. */
function kindsOfPages() {
  const kinds = new Map();
  for (const section of readFileSync(join(ROOT, 'docs/README.md'), 'utf8').split(/^## /m).slice(1)) {
    const kind = section.slice(0, section.search(/[:\n]/));
    for (const [, path] of section.matchAll(/\]\(([\w-]+\.md)\)/g)) if (!kinds.has(path)) kinds.set(path, kind);
  }
  return kinds;
}

/** Paths of documents without their extension, as in the project. */
const paths = new Map();

/** Documents have the addresses that their files have in the project. */
class FileRouter extends KindRouter {
  getIdealBaseName(reflection) {
    return paths.get(reflection) ?? super.getIdealBaseName(reflection);
  }
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

async function buildPages() {
  const app = await Application.bootstrapWithPlugins({
    name: 'v86-virtiofs',
    basePath: ROOT,
    tsconfig: join(ROOT, 'tsconfig.json'),
    entryPoints: [
      'device/index.ts',
      'device/conformance/index.ts',
      'harness/index.ts',
      'harness/testing/index.ts',
      'web/embed/vm.ts',
    ].map((path) => join(ROOT, path)),
    readme: join(ROOT, 'README.md'),
    projectDocuments: ['docs/*.md', 'examples/README.md', 'device/conformance/README.md']
      .concat(['CHANGELOG.md', 'CONTRIBUTING.md', 'CODE_OF_CONDUCT.md', 'SECURITY.md'])
      .map((path) => join(ROOT, path)),
    out: SITE,
    // `npm run typecheck` does, with the project's own compiler.
    skipErrorChecking: true,
    excludePrivate: true,
    excludeProtected: true,
    excludeInternal: true,
    excludeExternals: true,
    disableSources: true,
    githubPages: true,
    headings: { readme: false, document: true },
    navigation: { includeGroups: true },
    sort: ['alphabetical'],
    highlightLanguages: ['typescript', 'javascript', 'html', 'shellscript', 'c', 'yaml', 'markdown', 'console'],
    groupOrder: ['Tutorials', 'How-to guides', 'Reference', 'Explanation', 'Project', '*'],
    requiredToBeDocumented: ['Class', 'Interface', 'Function', 'TypeAlias', 'Variable', 'Method', 'Accessor'],
    validation: { notExported: false, invalidLink: true, invalidPath: true, notDocumented: true },
    treatValidationWarningsAsErrors: true,
    // What the objects of browsers and of v86 have anyway.
    intentionallyNotDocumented: Object.entries(NATIVE).flatMap(([name, methods]) =>
      methods.map((method) => `v86-virtiofs.${name}.${method}`),
    ),
  });
  app.renderer.defineRouter('file', FileRouter);
  app.options.setValue('router', 'file');
  const kinds = kindsOfPages();
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    // The heading is the title, which the page has above the text.
    const [first] = document.content;
    const [line, title] = /^# (.*)\n/.exec(first?.text ?? '') ?? fail(`${document.name} does not begin with a heading`);
    paths.set(document, document.name.replace(/README$/, 'index'));
    document.frontmatter.group = kinds.get(`${document.name.replace(/^docs\//, '')}.md`) ?? 'Project';
    document.name = title.replaceAll('`', '');
    first.text = first.text.slice(line.length);
  });
  app.renderer.hooks.on('sidebar.begin', (context) =>
    JSX.createElement(
      'p',
      null,
      JSX.createElement('a', { href: context.relativeURL('page/index.html') }, 'The page and its course'),
    ),
  );
  const project = await app.convert();
  if (!project) fail('The API could not be read: see above.');
  app.validate(project);
  if (app.logger.hasErrors() || app.logger.hasWarnings()) fail('The documentation is not complete: see above.');
  await app.generateDocs(project, SITE);
}

/** Files of the site at an address of its own, as any static server has them. */
async function checkLinks() {
  const checker = new LinkChecker();
  const broken = [];
  checker.on('link', ({ url, status, state, parent }) => {
    if (state === 'BROKEN') broken.push(`${parent}: ${url} (${status})`);
  });
  const { links } = await checker.check({
    // Whatever is below it is followed further.
    path: '/',
    serverRoot: SITE,
    recurse: true,
    checkFragments: true,
    // Other people's sites come and go, and a build must not depend on them.
    linksToSkip: async (url) => !url.startsWith('http://localhost'),
  });
  if (broken.length) fail(`Broken links:\n${broken.join('\n')}`);
  console.log(`${links.length} links lead to where they should.`);
}

if (!existsSync(join(PAGE, 'guest/guest.json'))) fail('The page is not built: run `npm run build:page` first.');
await buildPages();
cpSync(PAGE, join(SITE, 'page'), { recursive: true });
await checkLinks();
