import type { RequestDetail } from '../../protocol.ts';

/** Bytes of a line. */
const LINE = 16;

/** A request and its reply as a test of this project (test/device/fuse), for a session to which the file and its number are known. */
export function testCaseOf(detail: RequestDetail): string {
  const { opcode, about, request, reply, written = 0, number } = detail;
  const asked = detail.buffers.filter(({ writable }) => !writable).reduce((sum, { length }) => sum + length, 0);
  const cut = [
    request.length < asked && `the first ${request.length} of ${asked} bytes of the request`,
    reply.length < written && `the first ${reply.length} of ${written} bytes of the reply`,
  ].filter(Boolean);
  return `${cut.length ? `// The inspector keeps ${cut.join(', and ')}.\n` : ''}it(${JSON.stringify(`answers ${opcode}${about ? `, ${about}` : ''}, as request ${number} was`)}, () => {
  const request = Uint8Array.of(${bytesOf(request)});
  const reply = new Uint8Array(${Math.max(written, 16)});
  const length = session.handle({
    source: new BytesSource(request),
    sink: new BytesSink(reply),
    isAwaited: true,
    complete: () => {},
  });
  expect(length).to.equal(${written});
  expect(reply.subarray(0, ${reply.length})).to.deep.equal(Uint8Array.of(${bytesOf(reply)}));
});
`;
}

function bytesOf(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += LINE)
    lines.push(
      `    ${[...bytes.subarray(at, at + LINE)].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`).join(', ')},`,
    );
  return lines.length ? `\n${lines.join('\n')}\n  ` : '';
}
