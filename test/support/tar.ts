import { BLOCK, encodeHeader, padded, type TarHeader } from '../../device/trees/tar-format.ts';

export const bytesOf = async (stream: ReadableStream<Uint8Array>) =>
  new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());

/** In slices of so many bytes. */
export const streamOf = (bytes: Uint8Array, slice = bytes.length) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += slice) controller.enqueue(bytes.slice(at, at + slice));
      controller.close();
    },
  });

export interface RawEntry extends Partial<TarHeader> {
  name: string;
  body?: Uint8Array | string;
  records?: [string, string | Uint8Array][];
  /** Changes the header's last block, whose checksum is right. */
  spoil?: (block: Buffer) => void;
}

/** An archive of whatever is wanted, sound or not. */
export function rawTar(entries: RawEntry[], hasEnd = true): Uint8Array {
  const parts = entries.flatMap(({ body = '', records = [], spoil, ...header }) => {
    const bytes = Buffer.from(body as string);
    const blocks = encodeHeader(
      {
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: bytes.length,
        mtime: { sec: 0, nsec: 0 },
        type: '0',
        linkname: '',
        ...header,
      },
      records.map(([key, value]) => [key, Buffer.from(value as string)]),
    );
    if (spoil) {
      const last = Buffer.from(blocks.at(-1)!);
      spoil(last);
      last.fill(' ', 148, 156);
      last.write(
        `${last
          .reduce((sum, byte) => sum + byte, 0)
          .toString(8)
          .padStart(6, '0')}\0 `,
        148,
        'latin1',
      );
      blocks[blocks.length - 1] = last;
    }
    return [...blocks, bytes, new Uint8Array(padded(bytes.length) - bytes.length)];
  });
  return Buffer.concat([...parts, new Uint8Array(hasEnd ? 2 * BLOCK : 0)]);
}
