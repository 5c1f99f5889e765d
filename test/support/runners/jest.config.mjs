import { fileURLToPath } from 'node:url';

/** jest on the sources: of an installed package none of this is needed but an empty `transform`. */
export default {
  rootDir: fileURLToPath(new URL('../../..', import.meta.url)),
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': fileURLToPath(new URL('esbuild-transform.mjs', import.meta.url)) },
  moduleNameMapper: {
    '^v86-virtiofs/testing$': '<rootDir>/harness/testing/index.ts',
    '^v86-virtiofs/testing/(.*)$': '<rootDir>/harness/testing/$1.ts',
  },
  testMatch: ['**/*.test.*'],
  modulePathIgnorePatterns: ['<rootDir>/(dist|build|site)/'],
  watchman: false,
  testTimeout: 60_000,
};
