/*
 * Measures a file system. Usage: vfsbench DIR [MIB], or vfsbench DIR requests COUNT. Each line it prints is a
 * quantity, its unit, its value and the number of calls: "write 4k" MB/s 12.3 16384. Rates of operations are
 * microseconds each. A line without a quantity says that what is between two of them is over.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES 1000
#define DIRECTORIES 500
#define TREE 500
#define RANDOM 2000
#define PAGE 4096
#define BLOCK (1 << 20)

static char *block;
static unsigned long long state = 88172645463325252ull;

static unsigned next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 16;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int check(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "vfsbench: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

static void rate(const char *name, double bytes, double seconds, int calls)
{
	printf("%s\tMB/s\t%.3f\t%d\n", name, bytes / 1e6 / seconds, calls);
}

static void each(const char *name, int count, double seconds)
{
	printf("%s\tus\t%.3f\t%d\n", name, seconds / count * 1e6, count);
}

/* Nothing of what comes next is answered from memory, as far as the file system lets go of it. */
static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	sync();
	if (fd >= 0) {
		write(fd, "3", 1);
		close(fd);
	}
}

static void sequential(long long size)
{
	static const int sizes[] = { 4096, 65536, 1 << 20 };
	static const char *const names[] = { "4k", "64k", "1M" };
	char name[64];
	double start;
	int fd, n;
	long long at;

	for (n = 0; n < 3; n++) {
		unlink("sequential");
		start = now();
		fd = check(open("sequential", O_WRONLY | O_CREAT, 0644), "open");
		for (at = 0; at < size; at += sizes[n])
			check(write(fd, block, sizes[n]), "write");
		check(fsync(fd), "fsync");
		check(close(fd), "close");
		snprintf(name, sizeof name, "write %s", names[n]);
		rate(name, size, now() - start, size / sizes[n]);

		drop_caches();
		start = now();
		fd = check(open("sequential", O_RDONLY), "open");
		for (at = 0; at < size; at += sizes[n])
			check(read(fd, block, sizes[n]), "read");
		snprintf(name, sizeof name, "read %s", names[n]);
		rate(name, size, now() - start, size / sizes[n]);
		check(close(fd), "close");
	}
}

static void random_access(long long size)
{
	unsigned pages = size / PAGE;
	double start;
	int fd, n;

	drop_caches();
	fd = check(open("sequential", O_RDWR), "open");
	start = now();
	for (n = 0; n < RANDOM; n++)
		check(pread(fd, block, PAGE, (off_t)(next_random() % pages) * PAGE), "pread");
	each("random read 4k", RANDOM, now() - start);
	start = now();
	for (n = 0; n < RANDOM; n++)
		check(pwrite(fd, block, PAGE, (off_t)(next_random() % pages) * PAGE), "pwrite");
	check(fsync(fd), "fsync");
	each("random write 4k", RANDOM, now() - start);
	check(close(fd), "close");
	check(unlink("sequential"), "unlink");
}

static void read_all(const char *title)
{
	double start = now();
	char name[64];
	int fd, n;

	for (n = 0; n < FILES; n++) {
		snprintf(name, sizeof name, "many/file%d", n);
		fd = check(open(name, O_RDONLY), "open");
		check(read(fd, block, PAGE), "read");
		check(close(fd), "close");
	}
	each(title, FILES, now() - start);
}

static void many_files(void)
{
	char name[64], other[64];
	struct stat stat_;
	struct dirent *entry;
	double start;
	int fd, n, count = 0;
	DIR *dir;

	check(mkdir("many", 0755), "mkdir");
	start = now();
	for (n = 0; n < FILES; n++) {
		snprintf(name, sizeof name, "many/file%d", n);
		fd = check(open(name, O_WRONLY | O_CREAT | O_EXCL, 0644), "create");
		check(write(fd, block, 100), "write");
		check(close(fd), "close");
	}
	each("create and write", FILES, now() - start);

	drop_caches();
	start = now();
	for (n = 0; n < FILES; n++) {
		snprintf(name, sizeof name, "many/file%d", n);
		check(stat(name, &stat_), "stat");
	}
	each("stat", FILES, now() - start);

	drop_caches();
	read_all("open, read and close");
	read_all("open, read and close, again");

	drop_caches();
	start = now();
	dir = opendir("many");
	check(dir ? 0 : -1, "opendir");
	while ((entry = readdir(dir))) {
		snprintf(name, sizeof name, "many/%s", entry->d_name);
		check(lstat(name, &stat_), "lstat");
		count++;
	}
	closedir(dir);
	each("list with stat", count, now() - start);

	/* Longer than attributes are valid in a cache that asks again. */
	sleep(2);
	each("", 1, 0);
	start = now();
	for (n = 0; n < FILES; n++) {
		snprintf(name, sizeof name, "many/file%d", n);
		check(stat(name, &stat_), "stat");
	}
	each("stat, known for a second", FILES, now() - start);

	start = now();
	for (n = 0; n < FILES; n++) {
		snprintf(name, sizeof name, "many/file%d", n);
		snprintf(other, sizeof other, "many/other%d", n);
		check(rename(name, other), "rename");
	}
	each("rename", FILES, now() - start);

	start = now();
	for (n = 0; n < FILES; n++) {
		snprintf(name, sizeof name, "many/other%d", n);
		check(unlink(name), "unlink");
	}
	each("unlink", FILES, now() - start);

	start = now();
	for (n = 0; n < DIRECTORIES; n++) {
		snprintf(name, sizeof name, "many/directory%d", n);
		check(mkdir(name, 0755), "mkdir");
	}
	each("mkdir", DIRECTORIES, now() - start);
	for (n = 0; n < DIRECTORIES; n++) {
		snprintf(name, sizeof name, "many/directory%d", n);
		check(rmdir(name), "rmdir");
	}
	check(rmdir("many"), "rmdir");
}

static void copy(const char *from, const char *to)
{
	int in = check(open(from, O_RDONLY), from), out = check(open(to, O_WRONLY | O_CREAT | O_EXCL, 0644), to), count;

	while ((count = check(read(in, block, 65536), from)) > 0)
		check(write(out, block, count), to);
	check(close(in), from);
	check(close(out), to);
}

/* 10 directories of 50 files of up to 8 KiB: made, copied and removed. */
static void tree(void)
{
	char from[64], to[64];
	double start;
	int fd, n;

	check(mkdir("from", 0755), "mkdir");
	for (n = 0; n < TREE; n++) {
		snprintf(from, sizeof from, "from/%d", n / 50);
		if (n % 50 == 0)
			check(mkdir(from, 0755), "mkdir");
		snprintf(from, sizeof from, "from/%d/%d", n / 50, n);
		fd = check(open(from, O_WRONLY | O_CREAT, 0644), "create");
		check(write(fd, block, next_random() % 8192), "write");
		check(close(fd), "close");
	}
	drop_caches();
	start = now();
	check(mkdir("to", 0755), "mkdir");
	for (n = 0; n < TREE; n++) {
		snprintf(to, sizeof to, "to/%d", n / 50);
		if (n % 50 == 0)
			check(mkdir(to, 0755), "mkdir");
		snprintf(from, sizeof from, "from/%d/%d", n / 50, n);
		snprintf(to, sizeof to, "to/%d/%d", n / 50, n);
		copy(from, to);
	}
	each("copy a tree of 500 files", TREE, now() - start);
	start = now();
	for (n = TREE - 1; n >= 0; n--) {
		snprintf(from, sizeof from, "from/%d/%d", n / 50, n);
		snprintf(to, sizeof to, "to/%d/%d", n / 50, n);
		check(unlink(from), "unlink");
		check(unlink(to), "unlink");
		if (n % 50)
			continue;
		snprintf(from, sizeof from, "from/%d", n / 50);
		snprintf(to, sizeof to, "to/%d", n / 50);
		check(rmdir(from), "rmdir");
		check(rmdir(to), "rmdir");
	}
	check(rmdir("from"), "rmdir");
	check(rmdir("to"), "rmdir");
	each("remove a tree of 500 files", 2 * TREE, now() - start);
}

/* Without a cache each is one request, and nothing else. */
static void requests(int count)
{
	struct stat stat_;
	int fd = check(open("limit", O_RDWR | O_CREAT, 0644), "open"), n;
	double start = now();

	for (n = 0; n < count; n++)
		check(fstat(fd, &stat_), "fstat");
	each("fstat of an open file", count, now() - start);
	check(close(fd), "close");
	check(unlink("limit"), "unlink");
}

/* What the guest can do without a file system: the path to one, and memory to memory. */
static void limits(void)
{
	struct stat stat_;
	char *copy_ = malloc(BLOCK);
	double start;
	int n;

	start = now();
	for (n = 0; n < 5 * FILES; n++)
		check(stat(".", &stat_), "stat");
	each("stat of a known directory", 5 * FILES, now() - start);
	start = now();
	for (n = 0; n < 64; n++)
		memcpy(copy_, block, BLOCK);
	rate("memcpy in the guest", 64.0 * BLOCK, now() - start, 64);
	free(copy_);
}

int main(int argc, char **argv)
{
	int n;

	if (argc < 2 || chdir(argv[1])) {
		fprintf(stderr, "usage: vfsbench DIR [MIB | requests COUNT]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 3) {
		requests(atoi(argv[3]));
		return 0;
	}
	/* At a page, as dd and cat have it: one that is not takes a page, and so a request, more. */
	block = aligned_alloc(PAGE, BLOCK);
	for (n = 0; n < BLOCK; n++)
		block[n] = next_random();
	limits();
	requests(FILES);
	many_files();
	tree();
	sequential((argc > 2 ? atoi(argv[2]) : 64) * (long long)BLOCK);
	random_access((argc > 2 ? atoi(argv[2]) : 64) * (long long)BLOCK);
	return 0;
}
