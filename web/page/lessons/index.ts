/** The course, which is loaded when it is asked for. */
import './lesson-view.ts';
import './panel.ts';

export { showGlossary } from './glossary.ts';
export { LessonRun } from './run.ts';
