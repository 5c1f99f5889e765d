/*
 * Asks for a file's attributes many times at once, past all caches. Usage: crowd N FILE.
 * It says how many were asked for, and when all have been answered, how long that took.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACK 8192
/* Of linux/stat.h: what goes to the server in any case. */
#define AT_STATX_FORCE_SYNC 0x2000
#define STATX_BASIC_STATS 0x7ff
#define STATX_BYTES 256

static int ask(void *file)
{
	char result[STATX_BYTES];

	return syscall(SYS_statx, AT_FDCWD, file, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, result) < 0;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[1]) : 0, asked = 0, failed = 0, status;
	char *stacks;
	double start;

	if (count < 1) {
		printf("usage: crowd N FILE\n");
		return 1;
	}
	setvbuf(stdout, 0, _IOLBF, 0);
	stacks = mmap(0, (size_t)count * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stacks == MAP_FAILED) {
		perror("crowd");
		return 1;
	}
	start = now();
	while (asked < count && clone(ask, stacks + (size_t)(asked + 1) * STACK, CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, argv[2]) >= 0)
		asked++;
	printf("%d asked\n", asked);
	while (wait(&status) > 0)
		failed += status != 0;
	printf("%d answered, %d refused, in %.0f ms\n", asked - failed, failed, 1000 * (now() - start));
	return asked < count || failed > 0;
}
