import { defineSharded } from './sharded-base.ts';

await defineSharded(import.meta.url);
