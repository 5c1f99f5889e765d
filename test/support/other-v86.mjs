// node --import: lets `v86` be the package in the directory that V86_PACKAGE names.
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';

const main = pathToFileURL(`${process.env.V86_PACKAGE}/build/libv86.mjs`).href;
register(
  `data:text/javascript,${encodeURIComponent(`
  export const resolve = (name, context, next) => (name === 'v86' ? { url: ${JSON.stringify(main)}, shortCircuit: true } : next(name, context));
`)}`,
);
