/** The cache of guests' files, of all builds of the page. */
export const GUESTS_CACHE = 'v86-virtiofs guests';
