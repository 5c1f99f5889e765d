/** The cache of guests' files, of all builds of the page. */
export const GUESTS_CACHE = 'v86-virtiofs guests';
/** Of a file's path: with a hash of its content in its name, so that it is the same for ever. */
export const HASHED = /-[0-9a-f]{12,}\.[\w.]+$/;
