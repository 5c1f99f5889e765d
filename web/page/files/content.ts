import { proxy, type Remote } from 'comlink';
import { formatBytes } from '../../protocol/format.ts';
import type { FileEntry, FolderApi } from '../../protocol.ts';

/** Bytes of a text that can be edited, and of an image that is shown. */
const EDIT_LIMIT = 1 << 20;
const IMAGE_LIMIT = 16 << 20;
/** What is shown of other files. */
const HEAD_TEXT = 64 << 10;
const HEAD_BYTES = 512;

const IMAGES: Record<string, string> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  svg: 'image/svg+xml',
  bmp: 'image/bmp',
  ico: 'image/x-icon',
  avif: 'image/avif',
};

export type Content =
  /** To edit: `text` has LF for whatever the file has at its lines' ends. */
  | { kind: 'text'; text: string; lineEnd: '\n' | '\r\n'; version: string }
  | { kind: 'image'; url: string }
  /** To look at; `why` says why no more. */
  | { kind: 'head'; text: string; why: string; isBytes?: true };

/** A file as the visitor may see it. An image's `url` is to be revoked. `onProgress`: as for {@link FolderApi.read}. */
export async function loadContent(
  folder: Remote<FolderApi>,
  { path, name, size }: FileEntry,
  onProgress: (bytes: number) => void,
): Promise<Content> {
  const progress = proxy(onProgress);

  const type = IMAGES[/[^.]*$/.exec(name)![0].toLowerCase()];
  if (type !== undefined && size > 0 && size <= IMAGE_LIMIT) {
    const { bytes } = await folder.read(path, IMAGE_LIMIT, progress);
    return { kind: 'image', url: URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type })) };
  }
  const isTooLarge = size > EDIT_LIMIT;
  const { bytes, version } = await folder.read(path, isTooLarge ? HEAD_TEXT : EDIT_LIMIT, progress);
  const text = decode(bytes, isTooLarge);
  if (text === undefined) return headOf(bytes, size);
  if (isTooLarge)
    return {
      kind: 'head',
      text,
      why: `The first ${formatBytes(HEAD_TEXT)} of ${formatBytes(size)}: texts up to ${formatBytes(EDIT_LIMIT)} can be edited here.`,
    };
  const lineEnd = lineEndOf(text);
  if (!lineEnd)
    return { kind: 'head', text, why: 'Its lines end in different ways, and editing it here would not preserve that.' };
  return { kind: 'text', text: text.replaceAll('\r\n', '\n'), lineEnd, version };
}

/** Any file as its bytes. */
export async function loadBytes(folder: Remote<FolderApi>, { path, size }: FileEntry): Promise<Content> {
  const { bytes } = await folder.read(path, HEAD_BYTES);
  return headOf(bytes, size);
}

function headOf(bytes: Uint8Array, size: number): Content {
  const why =
    size > HEAD_BYTES
      ? `Binary file: the first ${HEAD_BYTES} bytes of ${formatBytes(size)}.`
      : 'Binary file: its bytes.';
  return { kind: 'head', text: hexDump(bytes.subarray(0, HEAD_BYTES)), why, isBytes: true };
}

export function encodeText(text: string, lineEnd: '\n' | '\r\n'): Uint8Array {
  return new TextEncoder().encode(lineEnd === '\n' ? text : text.replaceAll('\n', lineEnd));
}

/** What all lines end with; undefined when they differ. */
function lineEndOf(text: string): '\n' | '\r\n' | undefined {
  if (!text.includes('\r')) return '\n';
  return /\r(?!\n)|(?<!\r)\n/.test(text) ? undefined : '\r\n';
}

/** The bytes as text, or undefined when they are not text. `isCut`: the last character may be incomplete. */
function decode(bytes: Uint8Array, isCut: boolean): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: isCut });
  } catch {
    return undefined;
  }
}

/** As `hexdump -C` shows it. */
function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join(' ')
      .padEnd(47);
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hex}  ${text}`);
  }
  return lines.join('\n');
}
