/** Whether this is where a server is called, and not the code of a tab. */
export function isAddress(place: string): boolean {
  return /^\s*wss?:/i.test(place);
}
