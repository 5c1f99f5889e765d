// A guest in a page that mounts a filesystem of your own: a directory of the server that the page is from.
import { V86 } from 'v86';
import { attachVirtioFs } from 'v86-virtiofs';
import { WebDirectory } from '../filesystems/web-directory.js';

const filesystem = await WebDirectory.open(new URL('files', location.href).href);
const emulator = new V86({
  wasm_path: 'v86.wasm', // node_modules/v86/build/v86.wasm
  memory_size: 256 << 20,
  bios: { url: 'bios.bin' },
  vga_bios: { url: 'vgabios.bin' },
  bzimage: { url: 'vmlinuz' },
  initrd: { url: 'initrd.img' },
  cmdline: 'console=ttyS0',
  autostart: true,
});
await attachVirtioFs(emulator, { tag: 'web', filesystem }).ready;

let shown = '';
emulator.add_listener('serial0-output-byte', (byte: number) => {
  shown += String.fromCharCode(byte);
  if (shown.endsWith('guest:~# ') && !shown.includes('mount -t'))
    emulator.serial0_send('mount -t virtiofs web /mnt && cd /mnt && find . | sort && cat hello.txt\n');
  document.querySelector('#console')!.textContent = shown;
});
