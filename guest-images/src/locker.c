/*
 * Holds a lock on FILE until it is told to end by a line on stdin, or by its end. Usage: locker posix|ofd|flock FILE [try].
 * It says "locked" when it has the lock, which it waits for unless told to try.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int try = argc > 3 && !strcmp(argv[3], "try");
	int fd, result;
	char line[2];

	if (argc < 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	fd = open(argv[2], O_RDWR | O_CREAT, 0666);
	if (!strcmp(argv[1], "flock"))
		result = flock(fd, try ? LOCK_EX | LOCK_NB : LOCK_EX);
	else if (!strcmp(argv[1], "ofd"))
		result = fcntl(fd, try ? F_OFD_SETLK : F_OFD_SETLKW, &lock);
	else
		result = fcntl(fd, try ? F_SETLK : F_SETLKW, &lock);
	if (result < 0) {
		printf("failed: %s\n", strerror(errno));
		return 1;
	}
	printf("locked\n");
	fgets(line, sizeof line, stdin);
	return 0;
}
