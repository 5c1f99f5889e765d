/* What the scenes of race.c share. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORKERS 6
#define STEPS 60
#define PAGE 4096
/* Of linux/falloc.h. */
#define FALLOC_FL_ZERO_RANGE 0x10
/* What a process goes for, and how far all may get by appending. */
#define REACH (128 << 10)
#define LIMIT (252 << 10)
#define WORDS (LIMIT / 4)
#define LONGEST (20 << 10)

enum kind { WRITE, APPEND, READ, MAPPED_WRITE, MAPPED_READ, FTRUNCATE, TRUNCATE, O_TRUNC_OPEN, ALLOCATE, PUNCH, ZERO, COPY, SIZES, SYNC, KINDS };
/* Shared by all processes. */
struct board {
	volatile int failed;
	volatile unsigned counts[WORKERS + 1][KINDS];
	/* words: the time, since when each process is at work by it (0: it is not), and how old each word may be. */
	volatile unsigned epoch, busy[WORKERS];
	volatile unsigned short oldest[WORDS];
	/* turns: what the file has to be, and where it was cut last. */
	unsigned char model[LIMIT];
	volatile int size, edge;
};

/* Of this process. `me` is WORKERS in the one that started the others. */
extern struct board *board;
extern const char *path;
extern int me, fd, appending, may_map;
/* A pipe: who takes the byte out has the turn, and puts it back. */
extern int token[2];
/* Of the last record. */
extern unsigned sequence;
extern unsigned char buffer[LIMIT + PAGE], again[LIMIT + PAGE];
/* All offsets and lengths are multiples of it. */
extern int unit;
/* Where to go on when a page that is mapped is there no more. */
extern sigjmp_buf beyond;

/* One round of all processes is `begin`, STEPS times `step` in each of them, `end` with the file in `buffer`. */
struct scene {
	const char *name;
	void (*begin)(void), (*step)(void), (*end)(int size);
};
extern const struct scene words, records, turns;

unsigned below(unsigned limit);
/* Ends this process, and the others soon. */
void fail(const char *format, ...);
/* Counts a call that has to succeed; returns its result. */
int did(enum kind kind, int result);
void write_all(enum kind kind, int to, const void *from, int length, int at);
int size_of(int of);
void cut_by_name(void);
/* Whether the file system does that at all: tmpfs has no FALLOC_FL_ZERO_RANGE. */
int allocate(enum kind kind, int mode, int at, int length);
void drop_caches(void);
unsigned *map(int at, int length, int protection);
