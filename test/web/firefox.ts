import { type Browser, firefox } from 'playwright-core';

export const FIREFOX = '/usr/bin/firefox-esr';
/** For Firefox to start, on a machine with many other things to do. Milliseconds. */
const PATIENCE = 180_000;
/** As `layout.css.prefers-color-scheme.content-override` has them; null is none. */
const SCHEMES = { dark: 0, light: 1 };

/** What goes to Firefox, and comes from it. */
interface Message {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
}

/** What Playwright drives a browser of WebDriver BiDi with. */
interface BidiBrowser {
  _browserSession: { send(method: string, params: object): Promise<{ contexts: { context: string }[] }> };
  _connection: { _transport: { send(message: Message): void; onmessage(message: Message): void } };
}

/**
 * Debian's Firefox, driven by Playwright over WebDriver BiDi, with two things that it lacks: colour schemes, which
 * are set by its preferences, and an id for a download from the page itself, which gets its address for one.
 */
export async function launchFirefox(): Promise<Browser> {
  const browser = await firefox.launch({
    channel: 'moz-firefox',
    executablePath: FIREFOX,
    args: ['--remote-allow-system-access'],
    firefoxUserPrefs: { 'ui.prefersReducedMotion': 1 },
    timeout: PATIENCE,
  });
  const { _browserSession: session, _connection: connection } = (
    browser as unknown as { _connection: { toImpl(browser: Browser): BidiBrowser } }
  )._connection.toImpl(browser);
  const { contexts } = await session.send('browsingContext.getTree', { 'moz:scope': 'chrome', maxDepth: 0 });
  const target = { context: contexts[0]!.context };

  const { _transport: transport } = connection;
  const send = transport.send.bind(transport);
  transport.send = (message) => {
    if (message.method !== 'emulation.setMediaFeaturesOverride') return send(message);
    const scheme = (message.params as { features: { 'prefers-color-scheme': keyof typeof SCHEMES | null } }).features[
      'prefers-color-scheme'
    ];
    const name = "'layout.css.prefers-color-scheme.content-override'";
    const expression = scheme
      ? `Services.prefs.setIntPref(${name}, ${SCHEMES[scheme]})`
      : `Services.prefs.clearUserPref(${name})`;
    send({ id: message.id!, method: 'script.evaluate', params: { expression, target, awaitPromise: false } });
  };
  const receive = transport.onmessage.bind(transport);
  transport.onmessage = (message) => {
    const { method, params } = message;
    if (/^browsingContext\.download/.test(method ?? '')) params!['download'] ??= params!['url'];
    receive(message);
  };
  return browser;
}
