// A V86 of your own with a share. Any BIOS and kernel with CONFIG_VIRTIO_FS will do in place of the ones that are built here.
import { fileURLToPath } from 'node:url';
import { V86 } from 'v86';
import { attachVirtioFs, Volume } from 'v86-virtiofs';
import { ensureGuestImage } from 'v86-virtiofs/harness';

const { bios, vgaBios, kernel, initrd } = await ensureGuestImage();

const volume = Volume.fromJSON({ '/hello.txt': 'from the host\n' });
const emulator = new V86({
  wasm_path: fileURLToPath(import.meta.resolve('v86/build/v86.wasm')),
  memory_size: 256 << 20,
  bios: { url: bios },
  vga_bios: { url: vgaBios },
  bzimage: { url: kernel },
  initrd: { url: initrd },
  cmdline: 'console=ttyS0',
  autostart: true,
});
const device = attachVirtioFs(emulator, { tag: 'share', volume }); // right after `new V86`
await device.ready;

const script = 'mount -t virtiofs share /mnt && cat /mnt/hello.txt && date > /mnt/now';
await consoleShows('guest:~#'); // the shell on the guest's first serial port
emulator.serial0_send(`${script}\n`);
await consoleShows('from the host');
while (!volume.existsSync('/now')) await consoleShows('#');
console.log(volume.readFileSync('/now', 'utf8'));

const snapshot = await emulator.save_state(); // the FUSE session and the files ride along
await emulator.restore_state(snapshot); // here, or in another emulator with the same devices
await emulator.destroy();

function consoleShows(text: string): Promise<void> {
  let shown = '';
  return new Promise((resolve) => {
    const listener = (byte: number) => {
      shown += String.fromCharCode(byte);
      if (!shown.includes(text)) return;
      emulator.remove_listener('serial0-output-byte', listener);
      resolve();
    };
    emulator.add_listener('serial0-output-byte', listener);
  });
}
