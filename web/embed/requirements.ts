/** The smallest module with an instruction of SIMD: WebAssembly core specification, 5.5. */
const SIMD = new Uint8Array([
  0,
  0x61,
  0x73,
  0x6d,
  1,
  0,
  0,
  0, // magic and version
  1,
  5,
  1,
  0x60,
  0,
  1,
  0x7b, // type: [] -> [v128]
  3,
  2,
  1,
  0, // one function of it
  10,
  10,
  1,
  8,
  0,
  0x41,
  0,
  0xfd,
  15,
  0xfd,
  98,
  11, // i32.const 0, i8x16.splat, i8x16.popcnt, end
]);

/** @throws Error that says what this browser lacks, and what to do. */
export function checkBrowser(): void {
  const missing = [
    !(typeof WebAssembly === 'object' && WebAssembly.validate(SIMD)) && 'WebAssembly with SIMD',
    !hasModuleWorkers() && 'module workers',
    typeof DecompressionStream === 'undefined' && 'DecompressionStream',
    // Stands for all that browsers learned up to 2024.
    typeof AbortSignal.any === 'undefined' && 'AbortSignal.any',
  ].filter((name) => name !== false);
  if (missing.length) {
    throw new Error(
      `This browser can’t run the emulator: it has no ${missing.join(', no ')}. Chromium, Firefox and Safari of 2024 or later have all of it: update the browser, or allow WebAssembly in its settings.`,
    );
  }
}

/** Browsers that know them ask for the type. */
function hasModuleWorkers(): boolean {
  let isAsked = false;
  const options: WorkerOptions = {
    get type(): WorkerType {
      isAsked = true;
      return 'module';
    },
  };
  // Of the kind that v86 makes too: what a page's policy forbids, browsers complain of.
  const url = URL.createObjectURL(new Blob([]));
  try {
    new Worker(url, options).terminate();
  } catch {
    // That it was asked is what counts.
  }
  URL.revokeObjectURL(url);
  return isAsked;
}
