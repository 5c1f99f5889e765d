// A guest in a page, with its terminal and its shared folder.
import { createVm } from 'v86-virtiofs/page';

const vm = createVm({ container: document.querySelector<HTMLElement>('#vm')!, panels: ['files'] });
await vm.fs.write('/hello.txt', 'from the page\n');
const { stdout } = await vm.exec('cat hello.txt', { cwd: vm.mountPoint });
document.querySelector('#output')!.textContent = stdout;
