/** What `--version` ends parsing with. */
export class Versions extends Error {}
