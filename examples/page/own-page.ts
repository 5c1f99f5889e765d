// A V86 of your own in a page, with a share that the visitor puts files into.
import { V86 } from 'v86';
import { attachVirtioFs, createFsFromVolume, Volume } from 'v86-virtiofs';

const volume = new Volume();
const fs = createFsFromVolume(volume);
const emulator = new V86({
  wasm_path: 'v86.wasm', // node_modules/v86/build/v86.wasm
  screen_container: document.querySelector<HTMLElement>('#screen'),
  memory_size: 256 << 20,
  bios: { url: 'bios.bin' },
  vga_bios: { url: 'vgabios.bin' },
  bzimage: { url: 'vmlinuz' },
  initrd: { url: 'initrd.img' },
  autostart: true,
});
const device = attachVirtioFs(emulator, { tag: 'share', volume });
await device.ready;

const input = document.querySelector<HTMLInputElement>('input[type=file]')!;
input.onchange = async () => {
  for (const file of input.files ?? []) fs.writeFileSync(`/${file.name}`, new Uint8Array(await file.arrayBuffer()));
};
Object.assign(window, { emulator, volume }); // for the browser's console
