/*
 * Holds what a freeze must not lose, and goes on with it when told to: a file open in its middle, one
 * that is open and unlinked, a directory half read, and a lock. Usage: holder DIR.
 *
 * DIR/book has to be there, and DIR/chapters with files in it. It says "ready", waits for a line on
 * stdin and then tells what it reads, a line each; checksums are CRC-32 of what follows.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

	printf("ready\n");
	if (!fgets(bytes, sizeof bytes, stdin))
		fail("stdin");

	read_rest(book, "book");
	read_rest(secret, "secret");
	while ((entry = readdir(chapters)))
		printf("entry %s\n", entry->d_name);
	lock.l_type = F_UNLCK;
	check(fcntl(book, F_SETLK, &lock), "unlock");
	printf("done\n");
	return 0;
}
