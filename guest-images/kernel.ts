import { spawn } from 'node:child_process';
import { gunzipSync } from 'node:zlib';
import { kernelPayload } from './bzimage.ts';
import { GuestImageError } from './errors.ts';

/**
 * The ELF file in a bzImage, or `kernel` itself when it is one. `xz`: the program to unpack xz
 * with, which is how Debian compresses kernels (with a filter for x86 code that no npm package undoes).
 */
export async function unpackKernel(kernel: Buffer, xz = 'xz'): Promise<Buffer> {
  if (kernel.toString('latin1', 0, 4) === '\x7fELF') return kernel;
  const payload = kernelPayload(kernel);
  if (!payload) throw new GuestImageError('the kernel is neither an ELF file nor a bzImage of Linux 2.6.24 or newer');
  const { compression, data, unpackedSize } = payload;
  let unpacked: Buffer;
  switch (compression) {
    case 'none':
      unpacked = Buffer.from(data);
      break;
    case 'gzip':
      unpacked = gunzipSync(data);
      break;
    case 'xz':
      unpacked = await pipeThrough(xz, ['--decompress', '--stdout'], data);
      break;
    default:
      throw new GuestImageError(
        `the kernel is compressed with ${compression}, which only a BIOS can boot: use --boot bios, or give its unpacked vmlinux`,
      );
  }
  if (unpacked.length !== unpackedSize) {
    throw new GuestImageError(
      `the kernel is damaged: it unpacks to ${unpacked.length} bytes, its header says ${unpackedSize}`,
    );
  }
  return unpacked;
}

function pipeThrough(program: string, args: string[], input: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args);
    const chunks: Buffer[] = [];
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    child.on('error', (error) =>
      reject(new GuestImageError(`can't unpack the kernel with ${program}: ${error.message}`, { cause: error })),
    );
    child.on('close', (code) => {
      if (code === 0) resolve(Buffer.concat(chunks));
      else reject(new GuestImageError(`can't unpack the kernel: ${program} says ${errors.trim()}`));
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
