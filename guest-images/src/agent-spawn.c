/* Starts the processes that the host asks for. */
#include "agent.h"
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

/* With an errno: it is the working directory's. */
#define DIRECTORY_FAILED 0x10000

static volatile int exec_error;

/* The strings of a command: working directory, arguments, environment. NULL when there are fewer, or no memory. */
static char **take_strings(char **at, char *end, int count)
{
	char **strings = calloc(count + 1, sizeof *strings);
	int i;

	for (i = 0; strings && i < count; i++) {
		if (*at >= end) {
			free(strings);
			return NULL;
		}
		strings[i] = *at;
		*at += strlen(*at) + 1;
	}
	return strings;
}

static int open_pty(int *controller, int columns, int rows)
{
	struct winsize size = { .ws_row = rows, .ws_col = columns };
	int unlocked = 0, number;
	char name[32];

	*controller = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*controller < 0 || ioctl(*controller, TIOCSPTLCK, &unlocked) || ioctl(*controller, TIOCGPTN, &number))
		return -1;
	ioctl(*controller, TIOCSWINSZ, &size);
	snprintf(name, sizeof name, "/dev/pts/%d", number);
	return open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* The agent's environment with `more` in it, in an array of its own. */
static char **environment_with(char **more, int count)
{
	char **merged, **kept;
	int own = 0, i;

	while (environ[own])
		own++;
	kept = merged = calloc(own + count + 1, sizeof *merged);
	for (own = 0; merged && environ[own]; own++) {
		size_t name = strcspn(environ[own], "=") + 1;

		for (i = 0; i < count && strncmp(environ[own], more[i], name); i++)
			continue;
		if (i == count)
			*kept++ = environ[own];
	}
	if (merged)
		memcpy(kept, more, count * sizeof *more);
	return merged;
}

/* In a child that shares the agent's memory until it becomes another program: says in `exec_error` why it did not. */
static void run(char *directory, char **arguments, int in, int out, int err, int is_pty)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	if (is_pty)
		ioctl(0, TIOCSCTTY, 1);
	if (chdir(directory)) {
		exec_error = errno | DIRECTORY_FAILED;
	} else {
		execvp(arguments[0], arguments);
		exec_error = errno;
	}
	_exit(127);
}

static int processes_fd = -1;

void follow_init(void)
{
	processes_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* What runs for the host runs in the root of process 1, also when an initial RAM disk has gone to another one and is empty. */
static void go_after_init(void)
{
	struct stat here, there;
	int root = openat(processes_fd, "1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return;
	if (!fstat(root, &there) && !stat("/", &here) && (here.st_dev != there.st_dev || here.st_ino != there.st_ino) &&
	    !fchdir(root) && !chroot("."))
		chdir("/");
	close(root);
}

/* Payload of SPAWN: u8 is_pty, is_unkept; u16 columns, rows, arguments, variables; then the strings. */
void spawn(uint32_t id, char *bytes, uint32_t length)
{
	unsigned char *head = (unsigned char *)bytes;
	char *at = bytes + 10, *end = bytes + length;
	int is_pty = head[0], columns = head[2] | head[3] << 8, rows = head[4] | head[5] << 8;
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	struct process p = { .id = id, .in = -1, .out = -1, .err = -1, .is_pty = is_pty, .is_unkept = head[1] };
	char **directory, **arguments, **variables, **environment = NULL, **own = environ;
	int error = 0;

	if (processes_fd >= 0)
		go_after_init();
	directory = take_strings(&at, end, 1);
	arguments = take_strings(&at, end, head[6] | head[7] << 8);
	variables = take_strings(&at, end, head[8] | head[9] << 8);
	p.input = malloc(STDIN_ROOM);
	if (process_count == MAX_PROCESSES && !forget_eldest())
		error = EAGAIN;
	else if (!directory || !arguments || !arguments[0] || !variables)
		error = EINVAL;
	else if (!p.input || !(environment = environment_with(variables, head[8] | head[9] << 8)))
		error = ENOMEM;
	else if (is_pty)
		error = (in[0] = open_pty(&p.out, columns, rows)) < 0 ? errno : 0;
	else if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		error = errno;
	if (!error) {
		exec_error = 0;
		environ = environment;
		p.pid = vfork();
		if (p.pid == 0)
			run(directory[0], arguments, in[0], is_pty ? in[0] : out[1], is_pty ? in[0] : err[1], is_pty);
		environ = own;
		error = p.pid < 0 ? errno : exec_error;
		if (p.pid > 0 && error)
			waitpid(p.pid, NULL, 0);
	}
	close_end(&in[0]);
	close_end(&out[1]);
	close_end(&err[1]);
	free(directory);
	free(arguments);
	free(variables);
	free(environment);
	if (error) {
		close_end(&p.out);
		close_end(&in[1]);
		close_end(&out[0]);
		close_end(&err[0]);
		free(p.input);
		send_number(FAILED, id, error);
		return;
	}
	if (is_pty) {
		p.in = p.out;
	} else {
		p.in = in[1];
		p.out = out[0];
		p.err = err[0];
		fcntl(p.err, F_SETFL, O_NONBLOCK);
	}
	fcntl(p.in, F_SETFL, O_NONBLOCK);
	fcntl(p.out, F_SETFL, O_NONBLOCK);
	processes[process_count++] = p;
	send_number(STARTED, id, p.pid);
}
