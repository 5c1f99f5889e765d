import { expect } from 'chai';
import {
  buildCodec,
  hashAll,
  hashFiles,
  hashSources,
  readRecord,
  TOOLCHAIN_DIRECTORY,
} from '../../../scripts/build-codec.ts';
import { CodecToolchain } from '../../../scripts/build-codec-toolchain.ts';

/** With CODEC_REBUILD=1 the toolchain is fetched if it isn't there, and a rebuild that can't be compared fails. */
const mustRebuild = process.env['CODEC_REBUILD'] === '1';
const BUILD_AGAIN = 'npx tsx scripts/build-codec.ts';

describe('The codec as committed', () => {
  it('is of the sources in the record', async () => {
    expect(await hashSources(), `the crate has changed: ${BUILD_AGAIN}`).to.deep.equal((await readRecord()).sources);
  });

  it('is the package, the wasm and the module in the record', async () => {
    const { outputs } = await readRecord();
    expect(Object.keys(outputs)).to.include.members(['pkg/codec_bg.wasm', 'pkg/codec.js', 'codec-wasm.ts']);
    expect(await hashFiles(Object.keys(outputs)), `built files were changed: ${BUILD_AGAIN}`).to.deep.equal(outputs);
  });
});

const record = await readRecord();
const installed = await CodecToolchain.open(TOOLCHAIN_DIRECTORY);
const isTheSame = JSON.stringify(installed?.versions) === JSON.stringify(record.toolchain);

describe('The codec rebuilt', function () {
  this.timeout(600_000);
  if (!mustRebuild && !isTheSame) {
    it(
      `NOT REBUILT: ${installed ? 'another toolchain is installed' : 'the toolchain is not installed'}; CODEC_REBUILD=1 fetches and demands it`,
    );
    return;
  }
  it('is the committed one, byte for byte', async () => {
    const toolchain = installed ?? (await CodecToolchain.install(TOOLCHAIN_DIRECTORY));
    expect(toolchain.versions, `Debian's toolchain is not that of the record: ${BUILD_AGAIN} --install`).to.deep.equal(
      record.toolchain,
    );
    expect(hashAll(await buildCodec(toolchain))).to.deep.equal(record.outputs);
  });
});
