/* The words that posix reads and prints: flags, types, and what has come of a system call. */
#define _GNU_SOURCE
#include "posix.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static const struct { const char *name; int number; } numbers[] = {
	{ "EPERM", EPERM }, { "ENOENT", ENOENT }, { "EIO", EIO }, { "ENXIO", ENXIO }, { "EBADF", EBADF }, { "EAGAIN", EAGAIN },
	{ "EACCES", EACCES }, { "EBUSY", EBUSY }, { "EEXIST", EEXIST }, { "EXDEV", EXDEV }, { "ENODEV", ENODEV },
	{ "ENOTDIR", ENOTDIR }, { "EISDIR", EISDIR }, { "EINVAL", EINVAL }, { "ETXTBSY", ETXTBSY }, { "EFBIG", EFBIG },
	{ "ENOSPC", ENOSPC }, { "EROFS", EROFS }, { "EMLINK", EMLINK }, { "ERANGE", ERANGE }, { "ENAMETOOLONG", ENAMETOOLONG },
	{ "ENOTEMPTY", ENOTEMPTY }, { "ELOOP", ELOOP }, { "ENODATA", ENODATA }, { "EOVERFLOW", EOVERFLOW },
	{ "EOPNOTSUPP", EOPNOTSUPP }, { "ESTALE", ESTALE }, { "E2BIG", E2BIG }, { "ENOSYS", ENOSYS }, { "ENOTTY", ENOTTY },
	{ "O_RDONLY", O_RDONLY }, { "O_WRONLY", O_WRONLY }, { "O_RDWR", O_RDWR }, { "O_CREAT", O_CREAT }, { "O_EXCL", O_EXCL },
	{ "O_TRUNC", O_TRUNC }, { "O_APPEND", O_APPEND }, { "O_DIRECTORY", O_DIRECTORY }, { "O_NOATIME", O_NOATIME }, { "O_NOFOLLOW", O_NOFOLLOW },
	{ "O_TMPFILE", O_TMPFILE }, { "O_PATH", O_PATH }, { "O_NOATIME", O_NOATIME }, { "O_DIRECT", O_DIRECT },
	{ "keep", 1 }, { "punch", 3 }, { "collapse", 8 }, { "zero", 16 }, { "zero-keep", 17 }, { "insert", 32 }, { "punch-alone", 2 },
	{ "noreplace", 1 }, { "exchange", 2 }, { "whiteout", 4 }, { "noreplace-exchange", 3 },
	{ "create", XATTR_CREATE }, { "replace", XATTR_REPLACE },
	{ "fifo", S_IFIFO }, { "socket", S_IFSOCK }, { "char", S_IFCHR }, { "block", S_IFBLK }, { "file", S_IFREG },
	{ "directory", S_IFDIR }, { "symlink", S_IFLNK },
};

int number(const char *name)
{
	int n;

	for (n = 0; n < sizeof numbers / sizeof *numbers; n++)
		if (!strcmp(numbers[n].name, name))
			return numbers[n].number;
	return strtol(name, NULL, 0);
}

void told(const char *text)
{
	for (; *text; text++)
		if (*text > ' ' && *text < 0x7f && *text != '%' && *text != ',')
			putchar(*text);
		else
			printf("%%%02x", (unsigned char)*text);
}

void result(long long returned, int is_value)
{
	int n, error = errno;

	if (returned >= 0) {
		if (is_value)
			printf("%lld\n", returned);
		else
			puts("ok");
		return;
	}
	for (n = 0; n < sizeof numbers / sizeof *numbers; n++)
		if (numbers[n].name[0] == 'E' && numbers[n].number == error) {
			puts(numbers[n].name);
			return;
		}
	printf("errno %d\n", error);
}

int flags_of(char *names)
{
	int flags = 0;
	char *name;

	for (name = strtok(names, "|"); name; name = strtok(NULL, "|"))
		flags |= number(name);
	return flags;
}

static const char *type_of(mode_t mode)
{
	int n;

	for (n = 0; n < sizeof numbers / sizeof *numbers; n++)
		if (numbers[n].name[0] > 'a' && numbers[n].number == (mode & S_IFMT))
			return numbers[n].name;
	return "?";
}

void print_stat(int returned, struct stat *s)
{
	if (returned < 0) {
		result(returned, 0);
		return;
	}
	printf("type=%s mode=%04o nlink=%d uid=%d gid=%d size=%lld rdev=%d:%d blocks=%lld", type_of(s->st_mode), s->st_mode & 07777, (int)s->st_nlink,
	       (int)s->st_uid, (int)s->st_gid, (long long)s->st_size, major(s->st_rdev), minor(s->st_rdev), (long long)s->st_blocks);
	printf(" atime=%lld.%09ld mtime=%lld.%09ld\n", (long long)s->st_atim.tv_sec, s->st_atim.tv_nsec, (long long)s->st_mtim.tv_sec, s->st_mtim.tv_nsec);
}
