/*
 * Holds a lock on FILE until it is told to end by a line on stdin, or by its end.
 * Usage: locker posix|ofd|flock FILE [wait|try|get] [SECOND].
 * It says "locked" when it has the lock, which it waits for unless told to try. Told to get, it only says who is in the way. With SECOND
 * it wants a lock on that too when it gets its first line, and says what came of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int take(const char *kind, const char *path, int try)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR | O_CREAT, 0666);

	if (!strcmp(kind, "flock"))
		return flock(fd, try ? LOCK_EX | LOCK_NB : LOCK_EX);
	if (!strcmp(kind, "ofd"))
		return fcntl(fd, try ? F_OFD_SETLK : F_OFD_SETLKW, &lock);
	return fcntl(fd, try ? F_SETLK : F_SETLKW, &lock);
}

static int get(const char *path)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(open(path, O_RDWR), F_GETLK, &lock) < 0)
		return -1;
	if (lock.l_type == F_UNLCK)
		printf("free\n");
	else
		printf("held by %d\n", (int)lock.l_pid);
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 3 ? argv[3] : "wait";
	char line[16];
	int result;

	if (argc < 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	result = strcmp(mode, "get") ? take(argv[1], argv[2], !strcmp(mode, "try")) : get(argv[2]);
	if (result < 0) {
		printf("failed: %s\n", strerror(errno));
		return 1;
	}
	if (!strcmp(mode, "get"))
		return 0;
	printf("locked\n");
	fgets(line, sizeof line, stdin);
	if (argc > 4) {
		printf("asking\n");
		result = take(argv[1], argv[4], 0);
		printf("second %s\n", result < 0 ? strerror(errno) : "locked");
		fgets(line, sizeof line, stdin);
	}
	return 0;
}
