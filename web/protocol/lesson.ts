import type { ProxyMarked } from 'comlink';
import type { ShellInfo, TerminalSize } from '../protocol.ts';

/** What a lesson has in a guest for itself: a directory of the shared folder and a shell, which go without a trace. */
export interface LessonApi extends ProxyMarked {
  /**
   * Makes the directory, at a path where nothing is, with `files` in it (texts by names; those that end with a slash are directories), and returns the path. `others` are further names that the lesson
   * makes in it. One lesson at a time: another one that was under way is ended.
   */
  begin(name: string, files: Record<string, string>, others: string[]): Promise<string>;
  /** Those of these programs that the guest does not have. */
  lacks(programs: string[]): Promise<string[]>;
  /** Its shell: another one when the visitor has closed it. */
  shell(size: TerminalSize): ShellInfo;
  /** Ends all that was started in the shell, and removes what the lesson has made. The directory stays if the visitor has put something into it. */
  end(): Promise<void>;
}
