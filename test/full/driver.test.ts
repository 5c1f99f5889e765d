import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { findBuildTools } from '../../guest-images/driver-tools.ts';

describe('the tools that build the driver', () => {
  let bin: string;
  before(async () => {
    bin = await mkdtemp(join(tmpdir(), 'tools-'));
    for (const name of ['gcc', 'make', 'ld', 'strip']) await symlink('/bin/true', join(bin, name));
  });
  after(() => rm(bin, { recursive: true }));

  it("are the machine's own where it has them, and Debian's otherwise", () => {
    const [own, debian] = [findBuildTools('amd64', bin), findBuildTools('amd64', '/nowhere')];
    expect(own.cc).to.equal('gcc');
    expect(own.packages).not.to.include('gcc-12');
    expect(debian.cc).to.equal('gcc-12');
    expect(debian.packages).to.include.members([...own.packages, 'gcc-12', 'make']);
    expect(debian.environment('/root').PATH).to.match(/^\/root\/usr\/bin:/);
  });

  it('are not to be had for other architectures, and the message says what to do', () => {
    expect(() => findBuildTools('arm64', bin)).to.throw(/arm64.*copy its .*v86-virtiofs here/);
  });
});
