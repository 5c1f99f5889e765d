// Assembles device/snapshot/scan/scan.wat into scan-wasm.ts: npx tsx scripts/build-scan.ts
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import wabt from 'wabt';

const directory = new URL('../device/snapshot/scan/', import.meta.url);

/** The text of scan-wasm.ts, as made from scan.wat. */
export async function buildScan(): Promise<string> {
  const parsed = (await wabt()).parseWat('scan.wat', readFileSync(new URL('scan.wat', directory), 'utf8'), {
    simd: true,
  });
  parsed.validate();
  const { buffer } = parsed.toBinary({});
  const lines = Buffer.from(buffer)
    .toString('base64')
    .match(/.{1,120}/g)!;
  return `// Made from scan.wat by scripts/build-scan.ts; not to be edited.\n/** The module's bytes, base64. */\nexport const SCAN_WASM =\n${lines.map((line) => `  '${line}'`).join(' +\n')};\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(new URL('scan-wasm.ts', directory), await buildScan());
