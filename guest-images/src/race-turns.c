/* One system call at a time, compared with a model. */
#include "race.h"

static void grow_model(int size)
{
	if (size > board->size)
		board->size = size;
}

static void cut_model(int size)
{
	if (size < board->size)
		memset(board->model + size, 0, board->size - size);
	board->size = board->edge = size;
}

static void check_model(const char *road, const unsigned char *found, int at, int length)
{
	int n;

	for (n = 0; n < length; n++)
		if (found[n] != board->model[at + n])
			fail("%s: at %d is %02x in place of %02x", road, at + n, found[n], board->model[at + n]);
}

static void turn(void)
{
	int length = 1 + below(LONGEST), at = below(REACH), n, there;

	/* Mostly where something is, or where something was cut off. */
	if (below(2) && board->size)
		at = below(board->size < REACH ? board->size : REACH);
	else if (below(2) && board->edge < REACH)
		at = board->edge;
	there = at < board->size ? board->size - at : 0;
	if (there > length)
		there = length;
	for (n = 0; n < length; n++)
		again[n] = 1 + below(255);
	switch (below(14)) {
	case WRITE:
		write_all(WRITE, fd, again, length, at);
		memcpy(board->model + at, again, length);
		grow_model(at + length);
		break;
	case APPEND:
		if (board->size >= REACH)
			break;
		write_all(APPEND, appending, again, length, 0);
		memcpy(board->model + board->size, again, length);
		grow_model(board->size + length);
		break;
	case READ:
		n = did(READ, pread(fd, buffer, length, at));
		if (n != there)
			fail("read of %d at %d gave %d in place of %d", length, at, n, there);
		check_model("read", buffer, at, n);
		break;
	case MAPPED_WRITE: case MAPPED_READ:
		if (may_map && there) {
			int is_write = below(2), offset = at & (PAGE - 1);
			unsigned char *mapped = (unsigned char *)map(at - offset, offset + there, is_write ? PROT_READ | PROT_WRITE : PROT_READ);

			check_model("mapping", mapped + offset, at, there);
			if (is_write) {
				memcpy(board->model + at, again, there);
				memcpy(mapped + offset, again, there);
			}
			munmap(mapped, offset + there);
			did(is_write ? MAPPED_WRITE : MAPPED_READ, 0);
		}
		break;
	case FTRUNCATE: did(FTRUNCATE, ftruncate(fd, at)); cut_model(at); break;
	case TRUNCATE: did(TRUNCATE, truncate(path, at + length)); cut_model(at + length); break;
	case O_TRUNC_OPEN: if (below(4) == 0) { cut_by_name(); cut_model(0); } break;
	case ALLOCATE: allocate(ALLOCATE, 0, at, length); grow_model(at + length); break;
	case PUNCH: allocate(PUNCH, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length); memset(board->model + at, 0, there); break;
	case ZERO: if (allocate(ZERO, FALLOC_FL_ZERO_RANGE, at, length)) { memset(board->model + at, 0, there); grow_model(at + length); } break;
	case COPY: {
		off_t from = at, to = at + length;
		n = did(COPY, copy_file_range(fd, &from, fd, &to, length, 0));
		memcpy(board->model + at + length, board->model + at, n);
		if (n)
			grow_model(at + length + n);
		if (n != there)
			fail("copy of %d at %d of %d bytes did %d", length, at, board->size, n);
		break;
	}
	case SIZES:
		n = size_of(fd);
		at = lseek(appending, 0, SEEK_END);
		if (n != board->size || at != board->size)
			fail("the file has %d bytes, by SEEK_END %d, in place of %d", n, at, board->size);
		did(SIZES, 0);
		break;
	case SYNC:
		did(SYNC, fsync(fd));
		if (below(20) == 0)
			drop_caches();
		break;
	}
}

static void step_turns(void)
{
	char byte;

	if (read(token[0], &byte, 1) != 1)
		fail("read of the token: %s", strerror(errno));
	if (!board->failed)
		turn();
	write(token[1], &byte, 1);
}

static void end_turns(int size)
{
	if (size != board->size)
		fail("the file has %d bytes in place of %d", size, board->size);
	check_model("in the end", buffer, 0, size);
}

static void begin_turns(void)
{
}

const struct scene turns = { "turns", begin_turns, step_turns, end_turns };
