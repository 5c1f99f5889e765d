import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const path = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));

/** vitest on the sources: of an installed package none of this is needed. */
export default defineConfig({
  root: path('.'),
  resolve: {
    alias: [
      { find: /^v86-virtiofs\/testing$/, replacement: path('harness/testing/index.ts') },
      { find: /^v86-virtiofs\/testing\/(.*)$/, replacement: path('harness/testing/$1.ts') },
    ],
  },
  test: { globals: true, include: ['**/*.test.ts'], watch: false, testTimeout: 60_000 },
});
