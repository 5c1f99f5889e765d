import { proxy, type Remote } from 'comlink';
import { html, type LitElement, nothing } from 'lit';
import { printable } from '../../../harness/machine/printable.ts';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { FolderApi, NewFile } from '../../protocol.ts';
import { choose } from '../dialog.ts';
import { nameOf, parentOf } from './paths.ts';
import { ARCHIVE } from './viewer.ts';

interface Host extends LitElement {
  readonly connection: Connection;
  readonly guest: GuestView;
}

/** Files on their way into the shared folder, and the questions they raise. */
export class Uploads {
  readonly #host: Host;
  readonly #onDone: () => Promise<void>;
  #current: { done: number; total: number } | undefined;

  /** `host` shows {@link render} and the dialogs. */
  constructor(host: Host, onDone: () => Promise<void>) {
    this.#host = host;
    this.#onDone = onDone;
  }

  render() {
    if (!this.#current) return nothing;
    const { done, total } = this.#current;
    return html`<div class="under-way" role="status">Copying ${formatBytes(done)}${total ? ` of ${formatBytes(total)}` : ''}
      <progress max=${total || 1} value=${total ? done : nothing} aria-label="Copying"></progress></div>`;
  }

  get #root(): ShadowRoot {
    return this.#host.shadowRoot!;
  }

  async add(directory: string, files: NewFile[]): Promise<void> {
    const {
      connection,
      guest: {
        api: { folder },
      },
    } = this.#host;
    const archives = files.filter(({ path, content }) => content && ARCHIVE.test(path) && !path.includes('/'));
    let unpack = false;
    if (archives.length) {
      const what = archives.length === 1 ? archives[0]!.path : `${archives.length} archives`;
      const text = `Unpacking puts the files that are in it into ${directory}, in place of those of the same name.`;
      const choice = await choose(this.#root, {
        title: `Unpack ${what}?`,
        text,
        choices: { keep: 'Keep as it is', unpack: 'Unpack' },
      });
      if (!choice) return;
      unpack = choice === 'unpack';
    }
    let plain = unpack ? files.filter((file) => !archives.includes(file)) : files;
    // Once more for those that someone has changed since the visitor was asked.
    while (plain.length) {
      const versions = await this.#mayReplace(folder, directory, plain);
      if (!versions) break;
      const total = plain.reduce((sum, { content }) => sum + (content?.size ?? 0), 0);
      const leftOut = await this.#run(total, (onProgress) =>
        connection.attempt(folder.put(directory, plain, versions, onProgress)),
      );
      plain = plain.filter(({ path, content }) => content && leftOut?.includes(path));
    }
    if (unpack) for (const { content } of archives) await this.#unpack(folder, directory, content!);
  }

  /** Unpacks a file of the share into the directory it is in. */
  async unpackFile(path: string): Promise<void> {
    const {
      connection,
      guest: {
        api: { folder },
      },
    } = this.#host;
    const directory = parentOf(path);
    const text = `This puts the files that are in it into ${directory}, in place of those of the same name.`;
    if (!(await choose(this.#root, { title: `Unpack ${nameOf(path)}?`, text, choices: { unpack: 'Unpack' } }))) return;
    const archive = await connection.attempt(folder.download(path));
    if (archive) await this.#unpack(folder, directory, archive);
  }

  /** The versions of what is there, when there is nothing, or the visitor lets it be replaced. */
  async #mayReplace(
    folder: Remote<FolderApi>,
    directory: string,
    files: NewFile[],
  ): Promise<Map<string, string> | undefined> {
    const paths = files.filter(({ content }) => content).map(({ path }) => path);
    const versions = await this.#host.connection.attempt(folder.existing(directory, paths));
    const existing = [...(versions?.keys() ?? [])];
    if (!existing.length) return versions;
    const text = `${existing.slice(0, 3).join(', ')}${existing.length > 3 ? ` and ${existing.length - 3} more` : ''} in ${directory}`;
    return (
      (await choose(this.#root, {
        title: existing.length === 1 ? 'Replace the file?' : `Replace ${existing.length} files?`,
        text,
        choices: { replace: 'Replace' },
      })) && versions
    );
  }

  async #unpack(folder: Remote<FolderApi>, directory: string, archive: Blob): Promise<void> {
    const { connection } = this.#host;
    const report = await this.#run(0, (onProgress) =>
      connection.attempt(folder.unpack(directory, archive, onProgress)),
    );
    const skipped = report?.skipped ?? [];
    if (!skipped.length) return;
    const some = skipped
      .slice(0, 3)
      .map(({ path, reason }) => `${path} (${reason})`)
      .join(', ');
    connection.report(
      `${skipped.length} of the archive's files were left out: ${some}${skipped.length > 3 ? ' …' : ''}`,
    );
  }

  async #run<T>(total: number, action: (onProgress: (done: number) => void) => Promise<T>): Promise<T> {
    const show = (current: { done: number; total: number } | undefined) => {
      this.#current = current;
      this.#host.requestUpdate();
    };
    show({ done: 0, total });
    try {
      return await action(proxy((done: number) => this.#current && show({ done, total })));
    } finally {
      show(undefined);
      await this.#onDone();
    }
  }
}

/** Hands a file to the browser's downloads. What can't be seen in its name, or makes it look like another one, is made visible. */
export function saveAs(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = printable(name);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
