import type { NewFile } from '../../protocol.ts';

/** The files of a drop, those in folders with their paths, and folders. */
export async function droppedFiles(transfer: DataTransfer): Promise<NewFile[]> {
  // Entries can be had during the event only.
  const items = [...transfer.items]
    .filter(({ kind }) => kind === 'file')
    .map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const files: NewFile[] = [];
  for (const { entry, file } of items) {
    if (entry) await collect(entry, '', files);
    else if (file) files.push({ path: file.name, content: file });
  }
  return files;
}

async function collect(entry: FileSystemEntry, prefix: string, files: NewFile[]): Promise<void> {
  const path = prefix + entry.name;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    files.push({ path, content: file });
    return;
  }
  files.push({ path });
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return;
    for (const child of entries) await collect(child, `${path}/`, files);
  }
}

/** The files of an `<input type=file>`, those of a folder with their paths. */
export function chosenFiles(input: HTMLInputElement): NewFile[] {
  return [...input.files!].map((file) => ({ path: file.webkitRelativePath || file.name, content: file }));
}
