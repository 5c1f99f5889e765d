import { expose } from 'comlink';
import { ImageService } from './image-service.ts';

expose(new ImageService());
