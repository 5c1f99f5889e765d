/*
 * Lets processes loose on one file at once, and checks what has to hold whoever comes first. Usage:
 * race DIR SCENE ROUNDS SEED [nomap]. In "words", every word of the file tells where and when it was written:
 * nothing that was cut off or punched out before a read began may be in what it reads. In "records", what was
 * appended is whole and in order. In "turns", one system call at a time, by any process and on any road, is
 * compared with a model. After each round, sizes and content have to agree on all roads, and again with nothing
 * cached. Each line it prints is a kind of call and how many there were. The file stays: DIR/SCENE.
 */
#include "race.h"
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *const names[KINDS] = {
	"write", "append", "read", "mapped-write", "mapped-read", "ftruncate", "truncate", "o-trunc", "allocate", "punch", "zero", "copy", "sizes", "sync",
};

struct board *board;
const char *path;
int me = WORKERS, fd, appending, may_map, unit, token[2];
unsigned sequence;
unsigned char buffer[LIMIT + PAGE], again[LIMIT + PAGE];
sigjmp_buf beyond;
static unsigned long long state;

static const struct scene *const scenes[] = { &words, &records, &turns };
#define SCENES 3

unsigned below(unsigned limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state >> 16) % limit;
}

void fail(const char *format, ...)
{
	va_list list;

	if (!board->failed) {
		board->failed = 1;
		write(token[1], "t", 1);
		va_start(list, format);
		fprintf(stderr, "race: process %d: ", me);
		vfprintf(stderr, format, list);
		fprintf(stderr, "\n");
		va_end(list);
	}
	exit(1);
}

int did(enum kind kind, int result)
{
	if (result < 0)
		fail("%s: %s", names[kind], strerror(errno));
	board->counts[me][kind]++;
	return result;
}

static int opened(int flags)
{
	int result = open(path, flags, 0644);

	if (result < 0)
		fail("open: %s", strerror(errno));
	return result;
}

void write_all(enum kind kind, int to, const void *from, int length, int at)
{
	int written = did(kind, kind == APPEND ? write(to, from, length) : pwrite(to, from, length, at));

	if (written != length)
		fail("%s of %d bytes at %d wrote %d", names[kind], length, at, written);
}

/* All that there is from `at`, or `length` bytes. */
static int read_all(int from, void *to, int length, int at)
{
	int found = 0, more = 1;

	while (found < length && more > 0) {
		more = did(READ, pread(from, (char *)to + found, length - found, at + found));
		found += more;
	}
	return found;
}

int size_of(int of)
{
	struct stat s;

	if (fstat(of, &s) < 0)
		fail("fstat: %s", strerror(errno));
	return s.st_size;
}

void cut_by_name(void)
{
	close(did(O_TRUNC_OPEN, open(path, O_WRONLY | O_TRUNC)));
}

int allocate(enum kind kind, int mode, int at, int length)
{
	if (fallocate(fd, mode, at, length) == 0)
		return did(kind, 1);
	if (errno != EOPNOTSUPP || kind != ZERO)
		fail("%s %d+%d: %s", names[kind], at, length, strerror(errno));
	return 0;
}

void drop_caches(void)
{
	int control = open("/proc/sys/vm/drop_caches", O_WRONLY);

	sync();
	if (control < 0 || write(control, "3", 1) != 1)
		fail("drop_caches: %s", strerror(errno));
	close(control);
}

unsigned *map(int at, int length, int protection)
{
	void *mapped = mmap(NULL, length, protection, MAP_SHARED, fd, at);

	if (mapped == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	return mapped;
}

static void on_bus(int signal)
{
	(void)signal;
	siglongjmp(beyond, 1);
}

/* Nobody is at work: all roads lead to the same file. */
static void settle(const struct scene *scene)
{
	int other = opened(O_RDONLY), size = size_of(fd), end = lseek(appending, 0, SEEK_END), pass;
	struct stat s;

	if (stat(path, &s) < 0 || s.st_size != size || end != size || size_of(other) != size)
		fail("sizes: %d by the file that was open, %d by its name, %d by SEEK_END, %d opened anew", size, (int)s.st_size, end, size_of(other));
	for (pass = 0; pass < 2; pass++) {
		int found = read_all(fd, buffer, sizeof buffer, 0);

		if (found != size)
			fail("%d bytes can be read of %d", found, size);
		if (read_all(other, again, sizeof again, 0) != size || memcmp(buffer, again, size))
			fail("the file that was open and the one opened anew differ");
		if (may_map && size) {
			unsigned *mapped = map(0, size, PROT_READ);

			if (memcmp(mapped, buffer, size))
				fail("the mapping and what is read differ");
			munmap(mapped, size);
		}
		scene->end(size);
		drop_caches();
	}
	close(other);
	did(SIZES, 0);
}

static void round_of(const struct scene *scene, unsigned long long seed)
{
	int n, status;

	unit = may_map && seed % 2 ? PAGE : 4;
	scene->begin();
	for (me = 0; me < WORKERS; me++) {
		pid_t child = fork();

		if (child < 0)
			fail("fork: %s", strerror(errno));
		if (child > 0)
			continue;
		state = (seed * WORKERS + me + 1) * 88172645463325252ull;
		sequence = seed << 16;
		fd = opened(O_RDWR);
		appending = opened(O_WRONLY | O_APPEND);
		for (n = 0; n < STEPS && !board->failed; n++)
			scene->step();
		_exit(0);
	}
	while (wait(&status) > 0)
		if (status && !board->failed)
			fail("a process ended by %d", status);
	if (board->failed)
		exit(1);
	settle(scene);
}

int main(int argc, char **argv)
{
	static char place[4096];
	struct sigaction action = { .sa_handler = on_bus };
	const struct scene *scene = NULL;
	int n, kind, round;

	for (n = 0; argc > 4 && n < SCENES; n++)
		if (!strcmp(scenes[n]->name, argv[2]))
			scene = scenes[n];
	if (!scene) {
		fprintf(stderr, "usage: race DIR words|records|turns ROUNDS SEED [nomap]\n");
		return 2;
	}
	snprintf(place, sizeof place, "%s/%s", argv[1], argv[2]);
	path = place;
	may_map = argc == 5;
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED || pipe(token) < 0) {
		perror("race");
		return 1;
	}
	sigaction(SIGBUS, &action, NULL);
	fd = opened(O_CREAT | O_EXCL | O_RDWR);
	appending = opened(O_WRONLY | O_APPEND);
	write(token[1], "t", 1);
	for (round = 0; round < atoi(argv[3]); round++)
		round_of(scene, atoi(argv[4]) + round);
	for (kind = 0; kind < KINDS; kind++) {
		unsigned sum = 0;

		for (n = 0; n <= WORKERS; n++)
			sum += board->counts[n][kind];
		printf("%s %u\n", names[kind], sum);
	}
	return 0;
}
