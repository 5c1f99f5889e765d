/*
 * PID 1: mounts what a Linux program expects, loads the modules that /lib/modules/load names, and
 * keeps the exec agent and a shell on the first UART running. One process does it all: forks are
 * what a boot in an emulator spends its time on.
 */
#include <errno.h>
#include <fcntl.h>
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
#define CONSOLE "/dev/ttyS0"
#define DEBUGFS "/sys/kernel/debug"

static char *const environment[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "TERM=linux", "LANG=C.UTF-8", NULL,
};

static volatile sig_atomic_t shutdown_signal;

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

static void mount_all(void)
{
	attach("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	attach("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	attach("devtmpfs", "/dev", MS_NOSUID, NULL);
	attach("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=620,ptmxmode=666");
	attach("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, NULL);
	attach("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755");
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

static void load_modules(void)
{
	char path[256];
	FILE *list = fopen(MODULES, "re");

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

static void run(char *const argv[], const char *terminal)
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
	execve(argv[0], argv, environment);
	complain("run", argv[0]);
	_exit(127);
}

static pid_t start(char *const argv[], const char *terminal)
{
	pid_t pid = fork();

	if (pid == 0)
		run(argv, terminal);
	return pid;
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

int main(void)
{
	static char *const agent_argv[] = { "/sbin/agent", NULL };
	static char *const shell_argv[] = { "/bin/sh", "-l", NULL };
	static const int signals[] = { SIGTERM, SIGUSR1, SIGUSR2 };
	struct sigaction action = { .sa_handler = on_shutdown };
	pid_t agent, shell, ended;
	unsigned i;

	for (i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
	mount_all();
	load_modules();
	map_less_around_faults();
	sethostname("guest", 5);
	loopback_up();

	agent = has_uart("/sys/class/tty/ttyS1/type") ? start(agent_argv, NULL) : 0;
	shell = has_uart("/sys/class/tty/ttyS0/type") ? start(shell_argv, CONSOLE) : 0;
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
			agent = start(agent_argv, NULL);
		else if (ended == shell)
			shell = start(shell_argv, CONSOLE);
	}
}
