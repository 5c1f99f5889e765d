/*
 * Holds what a freeze must not lose, and goes on with it when told to: a file open in its middle, one
 * that is open and unlinked, one that never had a name, one that is appended to, a mapped page that is
 * dirty, a file handle, a working directory, a directory half read, and a lock. Usage: holder DIR.
 *
 * DIR/book has to be there, and DIR/chapters with files in it. It says "ready", waits for a line on
 * stdin and then tells what it reads, a line each; checksums are CRC-32 of what follows.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET "written before the freeze, and already deleted\n"

static uint32_t crc32(uint32_t crc, const unsigned char *bytes, int length)
{
	int bit;

	crc = ~crc;
	while (length--) {
		crc ^= *bytes++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void fail(const char *what)
{
	printf("failed %s: %s\n", what, strerror(errno));
	exit(1);
}

static int check(int result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

/* Reads to the end of the file from where it is, and tells of it. */
static void read_rest(int fd, const char *name)
{
	unsigned char bytes[4096];
	struct stat stat;
	uint32_t crc = 0;
	int count, sum = 0;
	long from = lseek(fd, 0, SEEK_CUR);

	while ((count = check(read(fd, bytes, sizeof bytes), name)) > 0) {
		crc = crc32(crc, bytes, count);
		sum += count;
	}
	check(fstat(fd, &stat), name);
	printf("%s from %ld bytes %d crc %08x links %d\n", name, from, sum, crc, (int)stat.st_nlink);
}

/* Where it works, from DIR. */
#define DEEP "deep/down/in/the/tree"

/* Files that are not read on: made before the freeze, and what became of them told after it. */
static int append, unnamed, root;
static char *mapped;
static union {
	struct file_handle handle;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
} book_handle;

static void hold_others(void)
{
	char path[] = DEEP, *name;
	int fd, mount_id;

	append = check(open("append", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644), "append");
	check(write(append, "before ", 7), "append");
	unlink("named");
	unnamed = check(open(".", O_TMPFILE | O_RDWR, 0644), "O_TMPFILE");
	check(write(unnamed, "nameless", 8), "O_TMPFILE");
	fd = check(open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0644), "mapped");
	check(ftruncate(fd, 8192), "mapped");
	mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		fail("mmap");
	memset(mapped + 4000, 'd', 200);
	close(fd);
	root = check(open(".", O_RDONLY | O_DIRECTORY), ".");
	book_handle.handle.handle_bytes = MAX_HANDLE_SZ;
	check(name_to_handle_at(root, "book", &book_handle.handle, &mount_id, 0), "name_to_handle_at");
	for (name = strtok(path, "/"); name; name = strtok(NULL, "/")) {
		mkdir(name, 0755);
		check(chdir(name), "the working directory");
	}
}

static void tell_others(void)
{
	struct stat stat;
	char bytes[64];
	int fd;

	check(access("../../../../../book", R_OK), "the working directory");
	printf("cwd %s\n", getcwd(bytes, sizeof bytes));
	check(write(append, "after", 5), "append");
	check(linkat(AT_FDCWD, (snprintf(bytes, sizeof bytes, "/proc/self/fd/%d", unnamed), bytes), root, "named", AT_SYMLINK_FOLLOW), "linkat");
	printf("mapped %c%c\n", mapped[4000], mapped[4199]);
	memset(mapped + 4000, 'e', 100);
	check(msync(mapped, 8192, MS_SYNC), "msync");
	fd = check(open_by_handle_at(root, &book_handle.handle, O_RDONLY), "open_by_handle_at");
	check(fstat(fd, &stat), "open_by_handle_at");
	printf("handle of %ld bytes\n", (long)stat.st_size);
}

int main(int argc, char **argv)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 100 };
	struct stat stat;
	struct dirent *entry;
	char bytes[4096];
	int book, secret, half, i;
	DIR *chapters;

	setvbuf(stdout, NULL, _IOLBF, 0);
	check(argc == 2 ? chdir(argv[1]) : -1, "usage: holder DIR");

	book = check(open("book", O_RDWR), "book");
	check(fstat(book, &stat), "book");
	half = stat.st_size / 2;
	for (i = 0; i < half; i += check(read(book, bytes, half - i < 4096 ? half - i : 4096), "book"))
		continue;
	check(fcntl(book, F_SETLK, &lock), "lock");

	secret = check(open("secret", O_RDWR | O_CREAT | O_TRUNC, 0600), "secret");
	for (i = 0; i < 1000; i++)
		check(write(secret, SECRET, strlen(SECRET)), "secret");
	check(lseek(secret, 10 * strlen(SECRET), SEEK_SET), "secret");
	check(unlink("secret"), "secret");

	chapters = opendir("chapters");
	if (!chapters)
		fail("chapters");
	for (i = 0; i < 5 && (entry = readdir(chapters)); i++)
		printf("entry %s\n", entry->d_name);

	hold_others();
	printf("ready\n");
	if (!fgets(bytes, sizeof bytes, stdin))
		fail("stdin");

	read_rest(book, "book");
	read_rest(secret, "secret");
	while ((entry = readdir(chapters)))
		printf("entry %s\n", entry->d_name);
	tell_others();
	lock.l_type = F_UNLCK;
	check(fcntl(book, F_SETLK, &lock), "unlock");
	printf("done\n");
	return 0;
}
