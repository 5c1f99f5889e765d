/*
 * Fills FILE with COUNT pages of a LETTER, by one asynchronous write past the page cache (Linux's aio, O_DIRECT), and waits for it.
 * Usage: direct FILE COUNT LETTER.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096
#define IOCB_CMD_PWRITE 1

/* Linux's aio_abi.h, for a little-endian machine. */
struct iocb {
	uint64_t aio_data;
	uint32_t aio_key, aio_rw_flags;
	uint16_t aio_lio_opcode;
	int16_t aio_reqprio;
	uint32_t aio_fildes;
	uint64_t aio_buf, aio_nbytes;
	int64_t aio_offset;
	uint64_t aio_reserved2;
	uint32_t aio_flags, aio_resfd;
};

struct io_event {
	uint64_t data, obj;
	int64_t res, res2;
};

int main(int argc, char **argv)
{
	unsigned long context = 0;
	struct iocb write = { .aio_lio_opcode = IOCB_CMD_PWRITE }, *writes[] = { &write };
	struct io_event event;
	size_t length;
	void *data;

	if (argc != 4)
		return 2;
	length = (size_t)atoi(argv[2]) * PAGE;
	if (posix_memalign(&data, PAGE, length))
		return 1;
	memset(data, *argv[3], length);
	write.aio_fildes = open(argv[1], O_WRONLY | O_DIRECT);
	write.aio_buf = (uintptr_t)data;
	write.aio_nbytes = length;
	if (syscall(SYS_io_setup, 1, &context) < 0 || syscall(SYS_io_submit, context, 1, writes) != 1 ||
	    syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1) {
		perror(argv[1]);
		return 1;
	}
	printf("%lld\n", (long long)event.res);
	return event.res != (long long)length;
}
