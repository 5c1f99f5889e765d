import { describeInterruptions } from '../support/store-interruptions.ts';

describeInterruptions(1);
