import { createVm } from './embed/page/virtiofs-vm.js';

const [script, run, back, state, output, container] = ['script', 'run', 'back', 'state', 'output', 'vm'].map((id) =>
  document.getElementById(id),
);
const vm = createVm({ container, panels: ['files'] });
vm.on('problem', (message) => (state.textContent = message));
const beginning = await vm.snapshot('beginning');
vm.fs.watch('/', async () => (state.textContent = `${(await vm.fs.list()).length} files`));
run.onclick = async () => {
  await vm.fs.write('/script.sh', script.value);
  const { stdout, stderr, code } = await vm.exec('sh script.sh', { cwd: vm.mountPoint, timeout: 10_000 });
  output.textContent = `${stdout}${stderr}(ended with ${code})`;
};
back.onclick = () => vm.rewind(beginning);
run.disabled = back.disabled = false;
state.textContent = `${(await vm.fs.list()).length} files`;
