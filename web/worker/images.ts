import { expose } from 'comlink';
import { ImageService } from './image-service.ts';

/** The page sends a port for the emulator's worker, which is the one that asks. */
addEventListener('message', ({ data }: MessageEvent<MessagePort>) => expose(new ImageService(), data), { once: true });
