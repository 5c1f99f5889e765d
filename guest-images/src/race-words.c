/* The words of the file tell where and when they were written. */
#include "race.h"

#define ANYWHERE 0xffff

static unsigned short sampled[WORDS];

/* From now on until done() this process writes what is of this time. */
static unsigned now(void)
{
	do
		board->busy[me] = board->epoch;
	while (board->busy[me] != board->epoch);
	return board->busy[me];
}

static void done(void)
{
	board->busy[me] = 0;
}

static void sample(int at, int length)
{
	memcpy(sampled + at / 4, (void *)(board->oldest + at / 4), length / 4 * 2);
}

static void check_words(const char *road, const unsigned *words, int at, int length)
{
	int n, index = at / 4;

	for (n = 0; n < length / 4; n++) {
		unsigned word = words[n], where = word >> 16, when = word & 0xffff;

		if (word && ((where != ANYWHERE && where != (unsigned)(index + n)) || when < sampled[index + n] || when > board->epoch))
			fail("%s: at %d is a word for %d of time %u, now is %u, and nothing may be there from before %u",
				road, at + n * 4, where * 4, when, board->epoch, sampled[index + n]);
	}
}

static void fill_words(unsigned *words, int at, int length, unsigned when)
{
	int n;

	for (n = 0; n < length / 4; n++)
		words[n] = (at < 0 ? ANYWHERE : at / 4 + n) << 16 | when;
}

static void read_words(int at, int length)
{
	sample(at, length);
	length = did(READ, pread(fd, buffer, length, at));
	check_words("read", (unsigned *)buffer, at, length);
}

static void map_words(int at, int length, int is_write)
{
	int start = at & -PAGE;
	unsigned *mapped = map(start, at + length - start, is_write ? PROT_READ | PROT_WRITE : PROT_READ);
	unsigned *words = mapped + (at - start) / 4;

	/* SIGBUS is what becomes of pages that are cut off. */
	if (sigsetjmp(beyond, 1) == 0) {
		if (is_write) {
			fill_words(words, at, length, now());
		} else {
			sample(at, length);
			check_words("mapping", words, at, length);
		}
		board->counts[me][is_write ? MAPPED_WRITE : MAPPED_READ]++;
	}
	done();
	munmap(mapped, at + length - start);
}

/* Takes something away, when nobody writes words of before, and says that it is not to be seen again. */
static void judge(int at, int length)
{
	unsigned epoch = ++board->epoch;
	int n, end = at + length;

	for (n = 0; n < WORKERS; n++)
		while (board->busy[n] && board->busy[n] < epoch && !board->failed)
			sched_yield();
	switch (below(5)) {
	case 0: did(FTRUNCATE, ftruncate(fd, at)); end = LIMIT; break;
	case 1: did(TRUNCATE, truncate(path, at)); end = LIMIT; break;
	case 2: cut_by_name(); at = 0; end = LIMIT; break;
	case 3: allocate(PUNCH, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length); break;
	case 4: if (!allocate(ZERO, FALLOC_FL_ZERO_RANGE, at, length)) return; break;
	}
	for (n = at / 4; n < end / 4; n++)
		board->oldest[n] = epoch;
	if (below(2))
		did(FTRUNCATE, ftruncate(fd, at + length));
	if (below(20) == 0)
		drop_caches();
	read_words(at, length);
}

static void step_words(void)
{
	int at = below(REACH / unit) * unit, length = (1 + below(LONGEST / unit)) * unit;

	if (me == 0) {
		int size = size_of(fd);

		judge(size && size < REACH ? (int)below(size) / unit * unit : at, length);
		return;
	}
	switch (below(16)) {
	case 0: case 1: case 2:
		fill_words((unsigned *)buffer, at, length, now());
		write_all(WRITE, fd, buffer, length, at);
		done();
		break;
	case 3: case 4:
		if (size_of(fd) >= REACH)
			break;
		fill_words((unsigned *)buffer, -1, length, now());
		write_all(APPEND, appending, buffer, length, 0);
		done();
		break;
	case 5: case 6: read_words(at, length); break;
	/* What is written beyond the end, in the last page of a mapping, may come to light when the file grows: see unit. */
	case 7: case 8: if (may_map && unit == PAGE) map_words(at, length, 1); break;
	case 9: case 10: if (may_map) map_words(at, length, 0); break;
	case 11: did(FTRUNCATE, ftruncate(fd, at + below(2) * length)); break;
	case 12: did(TRUNCATE, truncate(path, at + length)); break;
	case 13: allocate(ALLOCATE, below(2) ? FALLOC_FL_KEEP_SIZE : 0, at, length); break;
	case 14: allocate(PUNCH, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length); break;
	case 15: did(SYNC, fsync(fd)); break;
	}
}

static void begin_words(void)
{
	int n;

	did(TRUNCATE, truncate(path, 0));
	board->epoch++;
	for (n = 0; n < WORDS; n++)
		board->oldest[n] = board->epoch;
}

static void end_words(int size)
{
	sample(0, LIMIT);
	check_words("in the end", (unsigned *)buffer, 0, size & -4);
	if (size % unit)
		fail("the file has %d bytes, and nobody made it so", size);
}

const struct scene words = { "words", begin_words, step_words, end_words };
