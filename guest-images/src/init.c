/*
 * PID 1: mounts what a Linux program expects, loads the modules that /lib/modules/load names, and
 * keeps the exec agent and a shell on the first UART running. One process does it all: forks are
 * what a boot in an emulator spends its time on.
 *
 * It is /init of the initial RAM disk, and where the kernel's command line says rootfstype=virtiofs, it
 * goes from there to that root, and runs what init= names. There the host has put this program and the
 * agent into a directory of their own, which goes away when they run; and so it is in an initial RAM disk
 * that somebody else has made. What the kernel's command line has behind -- is the command that becomes
 * PID 1 in its place, once the agent runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODULES "/lib/modules/load"
/* What a process 1 that starts services needs besides. */
#define SERVICE_MODULES "/lib/modules/services"
#define CONSOLE "/dev/ttyS0"
#define DEBUGFS "/sys/kernel/debug"
#define NEW_ROOT "/mnt"

#define SHELL "SHELL="
static char shell_variable[] = SHELL "/bin/bash";

static char *const environment[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root", "USER=root", "LOGNAME=root", shell_variable, "TERM=linux", "LANG=C.UTF-8", NULL,
};

static volatile sig_atomic_t shutdown_signal;

static int agent_fd = -1;

static void complain(const char *what, const char *name)
{
	fprintf(stderr, "init: %s %s: %s\n", what, name, strerror(errno));
}

static void attach(const char *type, const char *path, unsigned long flags, const char *data)
{
	mkdir(path, 0755);
	if (mount(type, path, type, flags, data) && errno != EBUSY)
		complain("mount", path);
}

static void mount_all(int is_root)
{
	attach("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	attach("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	attach("devtmpfs", "/dev", MS_NOSUID, NULL);
	attach("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=620,ptmxmode=666");
	attach("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, NULL);
	attach("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755");
	if (!is_root)
		attach("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, NULL);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
}

/*
 * How much of a file's cached content a page fault maps. An emulator pays for each page that is mapped in vain,
 * and again when it is unmapped: with the usual 64 KiB a shell's commands take a fifth more. A kernel without
 * debugfs keeps that.
 */
static void map_less_around_faults(void)
{
	int fd;

	if (mount("debugfs", DEBUGFS, "debugfs", 0, NULL))
		return;
	fd = open(DEBUGFS "/fault_around_bytes", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "16384", 5) < 0)
		complain("write", DEBUGFS "/fault_around_bytes");
	if (fd >= 0)
		close(fd);
	umount(DEBUGFS);
}

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
		complain("load", path);
	if (fd >= 0)
		close(fd);
}

static void load_modules(const char *list_path)
{
	char path[256];
	FILE *list = fopen(list_path, "re");

	if (!list)
		return;
	while (fgets(path, sizeof path, list)) {
		path[strcspn(path, "\n")] = 0;
		if (path[0])
			load_module(path);
	}
	fclose(list);
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

/*
 * /dev has UARTs that the machine has not: their type is 0. Opening one to ask it would echo what the host has sent
 * already, and closing it wait for up to 30 s until that is gone.
 */
static int has_uart(const char *type_path)
{
	char type = '0';
	int fd = open(type_path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		read(fd, &type, 1);
		close(fd);
	}
	return type != '0';
}

/* `program`: a descriptor of it, or -1 for the path in `argv`. */
static void run(int program, char *const argv[], const char *terminal)
{
	setsid();
	if (terminal) {
		int fd = open(terminal, O_RDWR);

		if (fd < 0)
			_exit(1);
		ioctl(fd, TIOCSCTTY, 1);
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		if (fd > 2)
			close(fd);
	}
	chdir("/root");
	if (program >= 0)
		fexecve(program, argv, environment);
	else
		execve(argv[0], argv, environment);
	complain("run", argv[0]);
	_exit(127);
}

static pid_t start(int program, char *const argv[], const char *terminal)
{
	pid_t pid = fork();

	if (pid == 0)
		run(program, argv, terminal);
	return pid;
}

/* `follows`: process 1 may go to another root. */
static pid_t start_agent(int follows)
{
	static char *argv[] = { "/sbin/agent", NULL, NULL };

	argv[1] = follows ? "follow" : NULL;
	return start(agent_fd, argv, NULL);
}

static pid_t start_shell(void)
{
	static char *const argv[] = { shell_variable + sizeof SHELL - 1, "-l", NULL };

	return start(-1, argv, CONSOLE);
}

static int forget_file(const char *path, const struct stat *status, int type, struct FTW *at)
{
	remove(path);
	return 0;
}

/* What follows `name` in the kernel's command line up to the next blank; it begins with a word. */
static char *word_of(const char *line, const char *name)
{
	const char *at = line;
	size_t length = strlen(name);

	while ((at = strstr(at, name))) {
		if (at == line || at[-1] == ' ')
			return strndup(at + length, strcspn(at + length, " \n"));
		at += length;
	}
	return NULL;
}

/* The kernel's command line. */
static char *kernel_words(void)
{
	static char line[4096];
	ssize_t length = 0;
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		length = read(fd, line, sizeof line - 1);
		close(fd);
	}
	line[length > 0 ? length : 0] = 0;
	line[strcspn(line, "\n")] = 0;
	return line;
}

/* What the kernel's command line has behind --; before it are words that the kernel did not know. NULL for none. */
static char **command_of(int argc, char *argv[])
{
	char *at = strstr(kernel_words(), " -- ");
	int count = 0;

	for (at = at ? strtok(at + 4, " ") : NULL; at; at = strtok(NULL, " "))
		count++;
	return count && count < argc ? argv + argc - count : NULL;
}

/* In the initial RAM disk: goes to the root that the kernel's command line names and frees the memory here; returns where it names none. */
static void go_to_root(int argc, char *argv[])
{
	char *line, *type, *tag, *init, *flags;

	attach("proc", "/proc", 0, NULL);
	line = kernel_words();
	type = word_of(line, "rootfstype=");
	tag = word_of(line, "root=");
	init = word_of(line, "init=");
	flags = word_of(line, "rootflags=");
	if (!type || !tag || strcmp(type, "virtiofs"))
		return;
	load_modules(MODULES);
	if (command_of(argc, argv))
		load_modules(SERVICE_MODULES);
	if (mount(tag, NEW_ROOT, type, 0, flags)) {
		complain("mount the root", tag);
		return;
	}
	umount2("/proc", MNT_DETACH);
	nftw("/", forget_file, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	if (chdir(NEW_ROOT) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		complain("go to", NEW_ROOT);
	argv[0] = init ? init : "/sbin/init";
	execv(argv[0], argv);
	complain("run", argv[0]);
	_exit(1);
}

/* In such a root: `path` is this program, and the agent is beside it. They leave no trace there. */
static void settle_in_root(const char *path)
{
	char place[256], agent[300], name[65];
	ssize_t length = 0;
	int fd;

	snprintf(place, sizeof place, "%s", path);
	snprintf(agent, sizeof agent, "%s/agent", dirname(place));
	agent_fd = open(agent, O_RDONLY | O_CLOEXEC);
	if (agent_fd < 0)
		complain("open", agent);
	unlink(agent);
	unlink(path);
	rmdir(place);
	fd = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, name, sizeof name - 1);
		close(fd);
	}
	name[length > 0 ? length : 0] = 0;
	name[strcspn(name, "\n")] = 0;
	if (!name[0])
		strcpy(name, "guest");
	sethostname(name, strlen(name));
}

static void on_shutdown(int signal)
{
	shutdown_signal = signal;
}

/* The signals are those that busybox's poweroff, reboot and halt send. */
static void shut_down(void)
{
	int how = shutdown_signal == SIGTERM ? RB_AUTOBOOT
		: shutdown_signal == SIGUSR2 ? RB_POWER_OFF : RB_HALT_SYSTEM;

	kill(-1, SIGTERM);
	usleep(200000);
	kill(-1, SIGKILL);
	sync();
	reboot(how);
}

int main(int argc, char *argv[])
{
	static const int signals[] = { SIGTERM, SIGUSR1, SIGUSR2 };
	struct sigaction action = { .sa_handler = on_shutdown };
	int is_root = strcmp(argv[0], "/init") != 0;
	pid_t agent, shell, ended;
	char **command;
	unsigned i;

	if (!is_root)
		go_to_root(argc, argv);
	mount_all(is_root);
	if (is_root)
		settle_in_root(argv[0]);
	else
		sethostname("guest", 5);
	load_modules(MODULES);
	command = is_root ? command_of(argc, argv) : NULL;
	/* This very program, which starts one. */
	if (command && !strcmp(command[0], "/init") && !access("/bin/agent", X_OK))
		execv(command[0], command);
	if (access(shell_variable + sizeof SHELL - 1, X_OK))
		strcpy(shell_variable, SHELL "/bin/sh");
	map_less_around_faults();
	loopback_up();

	agent = has_uart("/sys/class/tty/ttyS1/type") ? start_agent(command != NULL) : 0;
	if (command) {
		execv(command[0], command);
		complain("run", command[0]);
		/* As the kernel would: it panics, and tells that. */
		_exit(127);
	}
	for (i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
	shell = has_uart("/sys/class/tty/ttyS0/type") ? start_shell() : 0;
	for (;;) {
		ended = wait(NULL);
		if (shutdown_signal)
			shut_down();
		if (ended < 0) {
			if (errno == ECHILD)
				pause();
			continue;
		}
		if (ended == agent || ended == shell)
			sleep(1);
		if (ended == agent)
			agent = start_agent(0);
		else if (ended == shell)
			shell = start_shell();
	}
}
