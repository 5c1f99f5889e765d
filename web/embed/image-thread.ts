/** The worker that fetches, checks and unpacks images for the emulator's. */
export class ImageThread {
  #worker: Worker | undefined;

  /** See {@link PageApi.serveImages}. */
  serve(port: MessagePort): Promise<never> {
    this.stop();
    const worker = new Worker(new URL('../worker/images.js', import.meta.url), { type: 'module', name: 'images' });
    this.#worker = worker;
    worker.postMessage(port, [port]);
    return new Promise((_, reject) =>
      worker.addEventListener('error', ({ message }) =>
        reject(
          new Error(`the part of the page that fetches images has stopped: ${message || 'it could not be fetched'}`),
        ),
      ),
    );
  }

  stop(): void {
    this.#worker?.terminate();
  }
}
