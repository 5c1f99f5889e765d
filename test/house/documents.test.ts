import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import GithubSlugger from 'github-slugger';
import { makeProgram } from '../../harness/node/cli/program.ts';
import { commandDocs } from '../../scripts/command-docs.ts';
import { manPage } from '../../scripts/man-page.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Without indentation: what is within something else begins at the margin in a document. */
const flat = (text: string) => text.replace(/^ +/gm, '');

/** Of the project's own folders. The last two speak of folders of Linux and of the guest. */
const DOCUMENTS = (readdirSync(ROOT, { recursive: true }) as string[])
  .map((path) => path.replaceAll('\\', '/'))
  .filter(
    (path) =>
      path.endsWith('.md') &&
      !/(^|\/)(node_modules|dist|build|guest-images)\/|driver-cover-letter|^(web|examples)\/course\//.test(path),
  );
const textOf = (document: string) => readFileSync(join(ROOT, document), 'utf8');

/** Blocks of one of these languages, and which document they are in. */
function blocks(...languages: string[]): { document: string; text: string }[] {
  return DOCUMENTS.flatMap((document) =>
    [...textOf(document).matchAll(/^```(\w+)\n(.*?)^```$/gms)]
      .filter(([, language]) => languages.includes(language!))
      .map(([, , text]) => ({ document, text: text! })),
  );
}

describe('README', () => {
  it('has at most 90 lines, and both commands in its first screen', () => {
    const lines = textOf('README.md').trimEnd().split('\n');
    expect(lines).to.have.length.at.most(90);
    const start = lines.slice(0, 20).join('\n');
    expect(start).to.include('npm start ').and.to.include('npm test ');
  });
});

describe('the figures of README', () => {
  it('are those of docs/benchmarks.md', () => {
    const [, table] = textOf('README.md').split('## Three numbers');
    const figures = [...table!.split('\n## ')[0]!.matchAll(/\| ([\d.]+) (?:MB\/s|ms)/g)].map(([, figure]) => figure!);
    expect(figures).to.have.length(6);
    for (const figure of figures) expect(textOf('docs/benchmarks.md')).to.match(new RegExp(`[|/] ${figure} `));
  });
});

describe('examples in documents', () => {
  it('are parts of files in examples/', () => {
    const sources = ['ci', 'filesystems', 'node', 'page', 'testing'].flatMap((name) =>
      readdirSync(join(ROOT, 'examples', name)).map((file) => readFileSync(join(ROOT, 'examples', name, file), 'utf8')),
    );
    const shown = blocks('ts', 'js', 'javascript', 'typescript', 'yaml');
    const pages = blocks('html').filter(({ text }) => text.includes('<!doctype'));
    expect(shown).to.have.length.at.least(24);
    for (const { document, text } of [...shown, ...pages])
      expect(
        sources.some((source) => flat(source).includes(flat(text))),
        `${document}:\n${text}`,
      ).to.equal(true);
  });

  it('are all listed, and all run', () => {
    const list = textOf('examples/README.md');
    const tests = ['support/examples', 'web/examples.test', 'full/package.test', 'full/ci.test']
      .map((name) => textOf(`test/${name}.ts`))
      .join('\n');
    for (const folder of ['ci', 'node', 'page', 'testing'])
      for (const file of readdirSync(join(ROOT, 'examples', folder))) {
        if (file.endsWith('.html') && existsSync(join(ROOT, 'examples', folder, file.replace('.html', '.ts'))))
          continue;
        expect(list).to.include(`${folder}/${file}`);
        expect(tests, `${file} is run by a test`).to.include(file.replace(/\..*/, ''));
      }
  });
});

describe('docs/embedding.md', () => {
  const text = textOf('docs/embedding.md');

  it('has every attribute of the element', () => {
    const [, list] = /static override properties = \{\n(.*?)\n {2}\};/s.exec(textOf('web/page/virtiofs-vm.ts'))!;
    const attributes = list!
      .split('\n')
      .filter((line) => !line.includes('state: true'))
      .map((line) => /attribute: '([^']+)'/.exec(line)?.[1] ?? /^ *(\w+):/.exec(line)![1]!);
    expect(attributes).to.have.length.at.least(16);
    for (const attribute of [...attributes, 'autofocus']) expect(text).to.include(`\`${attribute}\``);
  });

  it('has every event', () => {
    const [, list] = /export interface VmEvents \{\n(.*?)\n\}/s.exec(textOf('web/protocol/data.ts'))!;
    const events = [...list!.matchAll(/^ {2}(\w+):/gm)].map(([, name]) => name!);
    expect(events).to.have.length.at.least(7);
    for (const event of events) expect(text).to.match(new RegExp(`^\\| \`${event}\` \\|`, 'm'));
  });
});

describe('commands in documents', () => {
  const lines = blocks('sh').flatMap(({ document, text }) => text.split('\n').map((line) => ({ document, line })));

  it('are ones that the command line takes', async () => {
    // What it would do is left out: words and options are all that is looked at.
    let parsed = 0;
    for (const { document, line } of lines) {
      const [, command] =
        /(?:^|\| )(?:npx )?v86-virtiofs (.*?)(?:\s+#.*|>.*|\| .*)?$/.exec(line.replace(/<\(.*/, '')) ?? [];
      if (command === undefined) continue;
      const program = makeProgram();
      for (const each of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
        each.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
        if (each !== program && !each.commands.length) each.action(() => {});
      }
      const words = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
      const error = await program.parseAsync(words, { from: 'user' }).then(
        () => '',
        (thrown: Error & { code?: string }) => (/helpDisplayed/.test(thrown.code ?? '') ? '' : thrown.message),
      );
      expect(error, `${document}: ${line}`).to.equal('');
      parsed += 1;
    }
    expect(parsed).to.be.at.least(50);
  });

  it('are scripts that package.json has', () => {
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
    for (const document of DOCUMENTS)
      for (const [, name] of textOf(document).matchAll(/npm run (?:--silent )?([a-z][a-z:]*)/g))
        expect(Object.keys(scripts), `${document}: npm run ${name}`).to.include(name);
  });
});

describe('docs/commands.md', () => {
  it('is what the command line says: else run `npm run docs`', () =>
    expect(textOf('docs/commands.md')).to.equal(commandDocs()));
});

describe('docs/v86-virtiofs.1', () => {
  it('is what the command line says: else run `npm run docs`', () =>
    expect(textOf('docs/v86-virtiofs.1')).to.equal(manPage()));

  it('has no text that man would take for a request', () => {
    const requests = textOf('docs/v86-virtiofs.1').matchAll(/^[.'].*$/gm);
    for (const [line] of requests) expect(line).to.match(/^\.(\\"|TH|SH|SS|PP|TP|EX|EE|I|BR)( |$)/);
    for (const line of textOf('docs/v86-virtiofs.1').matchAll(/\\./g)) expect(line[0]).to.match(/\\[-efn"&]/);
  });
});

describe('docs/environment.md', () => {
  it('has every variable that the sources read', () => {
    const text = textOf('docs/environment.md');
    const sources = (readdirSync(ROOT, { recursive: true }) as string[]).filter((path) =>
      /^(device|guest-images|harness|scripts|test|web)[/\\].*\.m?ts$/.test(path),
    );
    const read = new Set(
      sources.flatMap((path) =>
        [
          ...textOf(path).matchAll(
            /process\.env\['([A-Z0-9_]+)'\]|_VARIABLE = '([A-Z0-9_]+)'|\.env\('([A-Z0-9_]+)'\)/g,
          ),
        ].map((match) => match.slice(1).find(Boolean)!),
      ),
    );
    // Everybody's, and how one test starts another process.
    for (const name of ['PATH', 'TMPDIR']) read.delete(name);
    expect(read.size).to.be.greaterThan(8);
    for (const name of read) expect(text, name).to.include(`\`${name}\``);
  });
});

describe('SECURITY.md', () => {
  it('names tests that are there, one for each promise', () => {
    const tests = (readdirSync(join(ROOT, 'test'), { recursive: true }) as string[]).map(
      (path) => `test/${path.replaceAll('\\', '/')}`,
    );
    const rows = readFileSync(join(ROOT, 'SECURITY.md'), 'utf8')
      .split('\n')
      .filter((line) => /^\| [^|-]/.test(line) && !line.includes('| test |'));
    expect(rows).to.have.length.at.least(15);
    for (const row of rows) {
      const named = [...row.split('|')[2]!.matchAll(/`([a-z/-]+)`/g)].map((match) => match[1]!);
      expect(named, row).not.to.deep.equal([]);
      for (const name of named)
        expect(
          tests.some(
            (path) => path.endsWith(`${name.startsWith('test/') ? name : `/${name}`}.test.ts`) || path === name,
          ),
          `${name} in ${row}`,
        ).to.equal(true);
    }
  });
});

describe('workflows', () => {
  it('run tests and scripts that are there', () => {
    const folder = '.github/workflows';
    const named = readdirSync(join(ROOT, folder)).flatMap((file) =>
      [...textOf(join(folder, file)).matchAll(/\b(?:test|scripts)\/[\w/.-]+\.(?:test\.ts|mjs|ts)\b/g)].map(
        ([path]) => path,
      ),
    );
    expect(named).to.have.length.above(8);
    for (const path of named) expect(existsSync(join(ROOT, path)), path).to.equal(true);
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
    for (const file of readdirSync(join(ROOT, folder)))
      for (const [, name] of textOf(join(folder, file)).matchAll(/npm run ([a-z][a-z:]*)/g))
        expect(Object.keys(scripts), `${file}: npm run ${name}`).to.include(name);
  });
});

describe('all documents', () => {
  it('are reached from the index', () => {
    const index = textOf('docs/README.md');
    for (const document of DOCUMENTS.filter((path) => path.startsWith('docs/') && path !== 'docs/README.md'))
      expect(index).to.include(`](${document.slice('docs/'.length)}`);
  });

  it('name files, folders and headings that are there', () => {
    expect(DOCUMENTS).to.include.members(['README.md', 'CONTRIBUTING.md', 'docs/architecture.md']);
    const anchors = (document: string) => {
      const slugger = new GithubSlugger();
      const headings = textOf(document)
        .replace(/^```.*?^```/gms, '')
        .matchAll(/^#+ (.*)$/gm);
      return [...headings].map(([, heading]) => slugger.slug(heading!.replace(/[`*]|\]\([^)]*\)|\[/g, '')));
    };
    const gone = DOCUMENTS.flatMap((document) => {
      const text = textOf(document);
      const places = [
        ...text.matchAll(/(?<![\w./-])(?:device|docs|examples|guest-images|harness|scripts|test|web)\/[\w./-]*[\w/]/g),
      ].map(([place]) => place);
      const links = [...text.matchAll(/\]\((?![a-z]+:)([^)#]*)(?:#([^)]*))?\)/g)].map(([, path, anchor]) => ({
        path: path ? join(dirname(document), path) : document,
        anchor,
      }));
      return [
        // The site has pages and files, but no lists of folders.
        ...links
          .filter(({ path }) => path.endsWith('/'))
          .map(({ path }) => `${path} is a folder: name it without a link`),
        ...[...places, ...links.map(({ path }) => path)].filter(
          (place) => !['', '.ts', '.test.ts'].some((suffix) => existsSync(join(ROOT, place + suffix))),
        ),
        ...links
          .filter(({ path, anchor }) => anchor && path.endsWith('.md') && existsSync(join(ROOT, path)))
          .filter(({ path, anchor }) => !anchors(path).includes(anchor!))
          .map(({ path, anchor }) => `${path}#${anchor}`),
      ].map((place) => `${document}: ${place}`);
    });
    expect(gone).to.deep.equal([]);
  });
});
