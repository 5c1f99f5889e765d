/*
 * Does one system call for each line on stdin, and prints a line with what came of it: "ok", a value, or
 * the name of the error. Usage: posix DIR. The words of a line are separated by spaces, %XX in them is a
 * byte. "scenario N" makes DIR/N and goes on there as root, with nothing open; device/conformance/README.md has
 * all the others.
 */
#define _GNU_SOURCE
#include "posix.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define WORDS 8
#define LINE (1 << 18)

static char line[LINE], value[LINE];
static char *words[WORDS + 1];
static int count;
static int handles[26];
static DIR *dirs[26];
static union {
	struct file_handle handle;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
} known[26];
static struct stat marked;

/* Until the clock of file systems has moved on. */
static void tick(void)
{
	struct timespec before, now, nap = { 0, 1000000 };

	clock_gettime(CLOCK_REALTIME_COARSE, &before);
	do {
		nanosleep(&nap, NULL);
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

static int differs(struct timespec *a, struct timespec *b)
{
	return a->tv_sec != b->tv_sec || a->tv_nsec != b->tv_nsec;
}

static void print_changed(const char *path)
{
	struct stat now;
	int any = 0;

	if (lstat(path, &now) < 0) {
		result(-1, 0);
		return;
	}
#define CHANGED(field, name) if (differs(&now.field, &marked.field)) { printf("%s" name, any ? "+" : ""); any = 1; }
	CHANGED(st_atim, "atime")
	CHANGED(st_mtim, "mtime")
	CHANGED(st_ctim, "ctime")
	puts(any ? "" : "none");
}

static struct timespec time_of(const char *text)
{
	struct timespec time = { 0, 0 };
	char *point;

	if (!strcmp(text, "now"))
		time.tv_nsec = UTIME_NOW;
	else if (!strcmp(text, "omit"))
		time.tv_nsec = UTIME_OMIT;
	else {
		time.tv_sec = strtoll(text, &point, 10);
		if (*point == '.')
			time.tv_nsec = strtol(point + 1, NULL, 10);
	}
	return time;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The rest of a directory, sorted; at most `limit` entries. */
static void print_entries(DIR *dir, int limit)
{
	static char *names[4096];
	struct dirent *entry;
	int n, found = 0;

	if (!dir) {
		result(-1, 0);
		return;
	}
	while (found < limit && found < 4096 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			names[found++] = strdup(entry->d_name);
	qsort(names, found, sizeof *names, by_name);
	printf("[");
	for (n = 0; n < found; n++) {
		if (n)
			putchar(',');
		told(names[n]);
		free(names[n]);
	}
	puts("]");
}

/* Lists a directory while it renames each entry that it is told of, and back, as generic/736 of xfstests does. Gives up far beyond its size. */
static void print_renamed(const char *path)
{
	static const char *other = "renamed";
	struct dirent *entry;
	int found = 0, top = open(path, O_RDONLY | O_DIRECTORY);
	DIR *dir = top < 0 ? NULL : fdopendir(dup(top));

	while (dir && found < 100000 && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		found++;
		if (renameat(top, entry->d_name, top, other) || renameat(top, other, top, entry->d_name))
			break;
	}
	printf("%d\n", found);
	if (dir)
		closedir(dir);
	close(top);
}

static void print_xattrs(const char *path)
{
	char *names[64], *at;
	int n, found = 0;
	ssize_t length = llistxattr(path, value, sizeof value);

	if (length < 0) {
		result(-1, 0);
		return;
	}
	for (at = value; at < value + length; at += strlen(at) + 1)
		names[found++] = at;
	qsort(names, found, sizeof *names, by_name);
	printf("[");
	for (n = 0; n < found; n++) {
		if (n)
			putchar(',');
		told(names[n]);
	}
	puts("]");
}

static void print_bytes(ssize_t length)
{
	if (length < 0) {
		result(-1, 0);
		return;
	}
	value[length] = 0;
	putchar('"');
	for (int n = 0; n < length; n++)
		if (value[n] > ' ' && value[n] < 0x7f && value[n] != '%')
			putchar(value[n]);
		else
			printf("%%%02x", (unsigned char)value[n]);
	puts("\"");
}

/* Whether the next entries are the same again after a seekdir to what telldir said before them. */
static void print_reread(DIR *dir, int limit)
{
	static char *names[4096];
	struct dirent *entry;
	long position = telldir(dir);
	int n, found = 0, same = 1;

	while (found < limit && found < 4096 && (entry = readdir(dir)))
		names[found++] = strdup(entry->d_name);
	seekdir(dir, position);
	for (n = 0; n < found; n++) {
		entry = readdir(dir);
		same = same && entry && !strcmp(entry->d_name, names[n]);
		free(names[n]);
	}
	printf("%s %d\n", same ? "same" : "other", found);
}

/* Writes through a mapping that is there for that only. */
static int write_mapped(int fd, int flags, off_t at, const char *text)
{
	off_t start = at & ~4095;
	size_t length = at - start + strlen(text);
	char *mapped = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, fd, start);

	if (mapped == MAP_FAILED)
		return -1;
	memcpy(mapped + (at - start), text, strlen(text));
	return msync(mapped, length, MS_SYNC) || munmap(mapped, length) ? -1 : 0;
}

static int take_lock(int fd, const char *kind, const char *type, off_t at, off_t length)
{
	int is_read = !strcmp(type, "read"), is_none = !strcmp(type, "none");
	struct flock lock = { .l_type = is_none ? F_UNLCK : is_read ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = length };

	if (!strcmp(kind, "flock"))
		return flock(fd, (is_none ? LOCK_UN : is_read ? LOCK_SH : LOCK_EX) | LOCK_NB);
	return fcntl(fd, F_OFD_SETLK, &lock);
}

static int drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY), result;

	sync();
	result = fd < 0 || write(fd, "3", 1) < 0 ? -1 : 0;
	close(fd);
	return result;
}

static int know(int which, const char *path)
{
	int mount_id;

	known[which].handle.handle_bytes = MAX_HANDLE_SZ;
	return name_to_handle_at(AT_FDCWD, path, &known[which].handle, &mount_id, 0);
}

static int open_known(int which, int flags)
{
	int top = open(".", O_RDONLY | O_DIRECTORY), fd = open_by_handle_at(top, &known[which].handle, flags), error = errno;

	close(top);
	errno = error;
	return fd;
}

static int become(int uid, int gid, char *groups)
{
	gid_t list[16];
	int n = 0;
	char *group;

	if (setresuid(0, 0, 0))
		return -1;
	for (group = groups ? strtok(groups, ",") : NULL; group; group = strtok(NULL, ","))
		list[n++] = atoi(group);
	return setgroups(n, list) || setresgid(-1, gid, -1) || setresuid(-1, uid, 0) ? -1 : 0;
}

static void begin(const char *top, const char *name)
{
	int n;

	become(0, 0, NULL);
	for (n = 0; n < 26; n++) {
		if (handles[n])
			close(handles[n]);
		if (dirs[n])
			closedir(dirs[n]);
		handles[n] = 0;
		dirs[n] = NULL;
	}
	umask(022);
	result(chdir(top) || mkdir(name, 0755) || chdir(name) ? -1 : 0, 0);
}

static void split(void)
{
	char *from = line, *to = line;

	count = 0;
	words[count++] = line;
	for (; *from && *from != '\n'; from++) {
		if (*from == ' ') {
			*to++ = 0;
			if (count < WORDS)
				words[count++] = to;
		} else if (*from == '%') {
			char hex[3] = { from[1], from[2], 0 };
			*to++ = strtol(hex, NULL, 16);
			from += 2;
		} else {
			*to++ = *from;
		}
	}
	*to = 0;
	words[count] = NULL;
}

#define HANDLE(n) handles[words[n][0] - 'a']
#define DIRECTORY(n) dirs[words[n][0] - 'a']
#define IS(name) (!strcmp(words[0], name))

static void step(const char *top)
{
	struct stat s;
	char *a = words[1], *b = words[2], *c = words[3], *d = words[4];
	int fd;

	errno = 0;
	if (IS("scenario")) begin(top, a);
	else if (IS("as")) result(become(atoi(a), atoi(b), c), 0);
	else if (IS("umask")) { umask(strtol(a, NULL, 8)); puts("ok"); }
	else if (IS("mkdir")) result(mkdir(a, strtol(b ? b : "0755", NULL, 8)), 0);
	else if (IS("rmdir")) result(rmdir(a), 0);
	else if (IS("create")) { fd = open(a, O_CREAT | O_EXCL | O_WRONLY, strtol(b ? b : "0644", NULL, 8)); result(fd, 0); if (fd >= 0) close(fd); }
	else if (IS("unlink")) result(unlink(a), 0);
	else if (IS("symlink")) result(symlink(a, b), 0);
	else if (IS("readlink")) print_bytes(readlink(a, value, sizeof value - 1));
	else if (IS("link")) result(linkat(AT_FDCWD, a, AT_FDCWD, b, 0), 0);
	else if (IS("rename")) result(syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, c ? number(c) : 0), 0);
	else if (IS("mknod")) result(mknod(a, number(b) | strtol(c, NULL, 8), d ? makedev(atoi(d), atoi(words[5])) : 0), 0);
	else if (IS("chmod")) result(chmod(a, strtol(b, NULL, 8)), 0);
	else if (IS("chown")) result(lchown(a, atoi(b), atoi(c)), 0);
	else if (IS("truncate")) result(truncate(a, atoll(b)), 0);
	else if (IS("utimens")) { struct timespec times[2]; times[0] = time_of(b); times[1] = time_of(c); result(utimensat(AT_FDCWD, a, times, AT_SYMLINK_NOFOLLOW), 0); }
	else if (IS("stat")) print_stat(lstat(a, &s), &s);
	else if (IS("follow")) print_stat(stat(a, &s), &s);
	else if (IS("fstat")) print_stat(fstat(HANDLE(1), &s), &s);
	else if (IS("mark")) { result(lstat(a, &marked), 0); tick(); }
	else if (IS("changed")) print_changed(a);
	else if (IS("open")) { fd = open(b, flags_of(c), strtol(d ? d : "0644", NULL, 8)); HANDLE(1) = fd < 0 ? 0 : fd; result(fd, 0); }
	else if (IS("close")) { result(close(HANDLE(1)), 0); HANDLE(1) = 0; }
	else if (IS("read")) print_bytes(pread(HANDLE(1), value, atoi(c), atoll(b)));
	else if (IS("write")) result(strcmp(b, "-") ? pwrite(HANDLE(1), c, strlen(c), atoll(b)) : write(HANDLE(1), c, strlen(c)), 1);
	else if (IS("ftruncate")) result(ftruncate(HANDLE(1), atoll(b)), 0);
	else if (IS("fchmod")) result(fchmod(HANDLE(1), strtol(b, NULL, 8)), 0);
	else if (IS("fallocate")) result(fallocate(HANDLE(1), strcmp(b, "0") ? number(b) : 0, atoll(c), atoll(d)), 0);
	else if (IS("seek")) result(lseek(HANDLE(1), atoll(c), !strcmp(b, "data") ? SEEK_DATA : !strcmp(b, "hole") ? SEEK_HOLE : SEEK_END), 1);
	else if (IS("copy")) { off_t from = atoll(b), to = atoll(d); result(copy_file_range(HANDLE(1), &from, HANDLE(3), &to, atoi(words[5]), 0), 1); }
	else if (IS("linkfd")) result(linkat(HANDLE(1), "", AT_FDCWD, b, AT_EMPTY_PATH), 0);
	else if (IS("fsync")) result(fsync(HANDLE(1)), 0);
	else if (IS("setxattr")) result(lsetxattr(a, b, c, strlen(c), d ? number(d) : 0), 0);
	else if (IS("getxattr")) print_bytes(lgetxattr(a, b, value, c ? atoi(c) : sizeof value - 1));
	else if (IS("removexattr")) result(lremovexattr(a, b), 0);
	else if (IS("listxattr")) print_xattrs(a);
	else if (IS("ls")) { DIR *dir = opendir(a); print_entries(dir, 4096); if (dir) closedir(dir); }
	else if (IS("opendir")) { DIRECTORY(1) = opendir(b); result(DIRECTORY(1) ? 0 : -1, 0); }
	else if (IS("readdir")) print_entries(DIRECTORY(1), b ? atoi(b) : 4096);
	else if (IS("renamewhilelisted")) print_renamed(a);
	else if (IS("reread")) print_reread(DIRECTORY(1), atoi(b));
	else if (IS("map")) result(write_mapped(HANDLE(1), !strcmp(b, "shared") ? MAP_SHARED : MAP_PRIVATE, atoll(c), d), 0);
	else if (IS("lock")) result(take_lock(HANDLE(1), b, c, d ? atoll(d) : 0, d ? atoll(words[5]) : 0), 0);
	else if (IS("know")) result(know(a[0] - 'a', b), 0);
	else if (IS("openknown")) { fd = open_known(b[0] - 'a', flags_of(c)); HANDLE(1) = fd < 0 ? 0 : fd; result(fd, 0); }
	else if (IS("dropcaches")) result(drop_caches(), 0);
	else if (IS("rewinddir")) { rewinddir(DIRECTORY(1)); puts("ok"); }
	else printf("unknown %s\n", words[0]);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: posix DIR < STEPS\n");
		return 2;
	}
	while (fgets(line, sizeof line, stdin)) {
		split();
		step(argv[1]);
	}
	return 0;
}
