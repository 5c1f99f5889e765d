/* Who appends appends whole records, others take away whole records. */
#include "race.h"

#define RECORD 100
#define HEAD 20

static void fill_record(unsigned char *record)
{
	int n;

	for (n = snprintf((char *)record, RECORD, "%d %u ", me, ++sequence); n < RECORD; n++)
		record[n] = n < HEAD ? '.' : 'a' + n % 26;
}

static void step_records(void)
{
	int n, count = 1 + below(60), at = below(REACH / RECORD) * RECORD;

	if (me < 3) {
		if (size_of(appending) >= REACH)
			return;
		for (n = 0; n < count; n++)
			fill_record(buffer + n * RECORD);
		write_all(APPEND, appending, buffer, count * RECORD, 0);
		return;
	}
	switch (below(8)) {
	case 0: cut_by_name(); break;
	case 1: did(FTRUNCATE, ftruncate(fd, at)); break;
	case 2: did(TRUNCATE, truncate(path, size_of(fd) / 2 / RECORD * RECORD)); break;
	case 3: allocate(ALLOCATE, FALLOC_FL_KEEP_SIZE, at, count * RECORD); break;
	case 4: allocate(PUNCH, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, count * RECORD); break;
	default:
		count = did(READ, pread(fd, buffer, count * RECORD, at));
		for (n = 0; n < count; n++)
			if (n % RECORD >= HEAD && buffer[n] && buffer[n] != 'a' + n % RECORD % 26)
				fail("at %d is %02x, of another place in a record", at + n, buffer[n]);
	}
}

static void end_records(int size)
{
	static const unsigned char nothing[RECORD];
	unsigned last[WORKERS + 1] = { 0 }, number;
	int at, n, writer;

	if (size % RECORD)
		fail("the file has %d bytes, which is no whole number of records", size);
	for (at = 0; at < size; at += RECORD) {
		unsigned char *record = buffer + at;

		if (!memcmp(record, nothing, RECORD))
			continue;
		if (sscanf((char *)record, "%d %u ", &writer, &number) != 2 || writer < 0 || writer >= WORKERS)
			fail("at %d of %d begins no record, but %02x %02x %02x %02x, and %02x in the end", at, size, record[0], record[1], record[2], record[3], record[RECORD - 1]);
		for (n = HEAD; n < RECORD; n++)
			if (record[n] != 'a' + n % 26)
				fail("at %d is %02x, in a record of process %d", at + n, record[n], writer);
		if (number <= last[writer])
			fail("at %d is record %u of process %d, after record %u", at, number, writer, last[writer]);
		last[writer] = number;
	}
}

static void nothing(void)
{
}

const struct scene records = { "records", nothing, step_records, end_records };
