/** What programs say that look for a network, and find none: BusyBox, glibc, curl, wget, apt, ssh, git, Python. And shells of programs that would look, and are not here. */
const COMPLAINTS =
  /bad address '|could not resolve host|unable to resolve host|temporary failure (?:in name resolution|resolving)|name or service not known|network is unreachable|can't resolve '|unable to locate package|\b(?:wget|curl|ping6?|ssh|scp|nc|telnet|nslookup|dig|host|ftp|apt|apt-get): (?:command )?not found/i;
/** Bytes of what came before: a complaint may come in two parts. */
const TAIL = 48;

/** Notices in what a shell writes that a program has found no network. */
export class NetworkWatch {
  readonly #decoder = new TextDecoder('latin1');
  #tail = '';

  isMissedIn(bytes: Uint8Array): boolean {
    const text = this.#tail + this.#decoder.decode(bytes);
    this.#tail = text.slice(-TAIL);
    if (!COMPLAINTS.test(text)) return false;
    this.#tail = '';
    return true;
  }
}
