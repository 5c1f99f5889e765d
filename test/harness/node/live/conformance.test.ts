import { declareLiveConformance } from '../../../support/live-conformance.ts';

declareLiveConformance('by descriptors', { io: 'now' });
declareLiveConformance('by paths', { io: 'now', hasDescriptors: false }, ['openUnlinked', 'byteNames']);
