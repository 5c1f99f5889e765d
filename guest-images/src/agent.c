/*
 * Runs commands for the host, over the second UART. The host's side is harness/guest-agent.ts, where
 * the protocol is described.
 *
 * Frames to the host go straight to the UART's port: v86 takes a byte at once, and the kernel's
 * driver would take an interrupt for every sixteen.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PORT "/dev/ttyS1"
#define PORT_DATA 0x2f8

#define SYNC_0 0xa5
#define SYNC_1 0x5a
#define HEADER_SIZE 10
#define CHECK_SIZE 4
#define MAX_IN 1024
#define MAX_OUT 8192

#define MAX_PROCESSES 256
#define STDIN_ROOM 65536
#define MAX_COMMAND 262144

enum to_guest { HELLO = 1, PART, SPAWN, INPUT, END_INPUT, KILL, RESIZE, CREDIT, CLOSE, LIST };
enum to_host { WELCOME = 65, TAKEN, STARTED, FAILED, OUTPUT, ERRORS, INPUT_TAKEN, EXITED, LISTED };

struct process {
	uint32_t id;
	pid_t pid;
	int in, out, err;
	int is_pty;
	int status, has_ended, was_told;
	/* Bytes of stdout and stderr that the host still takes. */
	uint32_t credit;
	char *input;
	uint32_t input_start, input_length;
	int input_ends;
};

static struct process processes[MAX_PROCESSES];
static int process_count;
static int port;
static uint32_t taken;
static unsigned char received[MAX_IN + HEADER_SIZE + CHECK_SIZE];
static int received_length;
static char *command;
static uint32_t command_length;
static int child_pipe[2];
static volatile int exec_error;

static uint32_t get32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(unsigned char *p, uint32_t value)
{
	p[0] = value;
	p[1] = value >> 8;
	p[2] = value >> 16;
	p[3] = value >> 24;
}

/* Two running sums, as Adler-32 has them but modulo 2^16. */
static uint32_t checksum(const unsigned char *bytes, int length)
{
	uint32_t a = 1, b = 0;

	while (length--) {
		a += *bytes++;
		b += a;
	}
	return (a & 0xffff) | b << 16;
}

static void send_frame(int type, uint32_t id, const void *payload, int length)
{
	static unsigned char frame[HEADER_SIZE + MAX_OUT + CHECK_SIZE];
	const unsigned char *at = frame;
	int left = HEADER_SIZE + length + CHECK_SIZE;

	frame[0] = SYNC_0;
	frame[1] = SYNC_1;
	frame[2] = type;
	frame[3] = 0;
	put32(frame + 4, id);
	frame[8] = length;
	frame[9] = length >> 8;
	memcpy(frame + HEADER_SIZE, payload, length);
	put32(frame + HEADER_SIZE + length, checksum(frame, HEADER_SIZE + length));
	while (left--)
		outb(*at++, PORT_DATA);
}

static void send_number(int type, uint32_t id, uint32_t number)
{
	unsigned char payload[4];

	put32(payload, number);
	send_frame(type, id, payload, sizeof payload);
}

static struct process *find(uint32_t id)
{
	int i;

	for (i = 0; i < process_count; i++)
		if (processes[i].id == id)
			return &processes[i];
	return NULL;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void forget(struct process *p)
{
	if (p->is_pty)
		p->in = -1;
	close_end(&p->in);
	close_end(&p->out);
	close_end(&p->err);
	free(p->input);
	*p = processes[--process_count];
}

/* The strings of a command: working directory, arguments, environment. */
static char **take_strings(char **at, char *end, int count)
{
	char **strings = calloc(count + 1, sizeof *strings);
	int i;

	for (i = 0; strings && i < count; i++) {
		if (*at >= end)
			return NULL;
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
	if (!chdir(directory))
		execvp(arguments[0], arguments);
	exec_error = errno;
	_exit(127);
}

/* Payload of SPAWN: u16 is_pty, columns, rows, arguments, variables; then the strings. */
static void spawn(uint32_t id, char *bytes, uint32_t length)
{
	unsigned char *head = (unsigned char *)bytes;
	char *at = bytes + 10, *end = bytes + length;
	int is_pty = head[0], columns = head[2] | head[3] << 8, rows = head[4] | head[5] << 8;
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	struct process p = { .id = id, .in = -1, .out = -1, .err = -1, .is_pty = is_pty };
	char **directory, **arguments, **variables, **environment = NULL, **own = environ;
	int error = 0;

	directory = take_strings(&at, end, 1);
	arguments = take_strings(&at, end, head[6] | head[7] << 8);
	variables = take_strings(&at, end, head[8] | head[9] << 8);
	p.input = malloc(STDIN_ROOM);
	if (process_count == MAX_PROCESSES)
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

static void list(void)
{
	unsigned char ids[4 * MAX_PROCESSES];
	int i;

	for (i = 0; i < process_count; i++)
		put32(ids + 4 * i, processes[i].id);
	send_frame(LISTED, 0, ids, 4 * process_count);
}

static void handle(int type, uint32_t id, const unsigned char *payload, int length)
{
	struct process *p = find(id);
	int i;

	switch (type) {
	case HELLO:
		taken = 0;
		command_length = 0;
		for (i = 0; i < process_count; i++) {
			processes[i].credit = 0;
			processes[i].was_told = 0;
		}
		send_frame(WELCOME, id, "", 0);
		break;
	case PART:
	case SPAWN:
		if (command_length + length <= MAX_COMMAND) {
			memcpy(command + command_length, payload, length);
			command_length += length;
		}
		if (type == PART)
			break;
		command[command_length] = 0;
		if (!p && command_length > 10)
			spawn(id, command, command_length);
		else
			send_number(FAILED, id, EINVAL);
		command_length = 0;
		break;
	case INPUT:
		if (!p || p->in < 0 || p->input_length + length > STDIN_ROOM)
			break;
		memmove(p->input, p->input + p->input_start, p->input_length);
		p->input_start = 0;
		memcpy(p->input + p->input_length, payload, length);
		p->input_length += length;
		break;
	case END_INPUT:
		if (p)
			p->input_ends = 1;
		break;
	case KILL:
		if (p && !p->has_ended && length >= 4)
			kill(-p->pid, get32(payload));
		break;
	case RESIZE:
		if (p && p->is_pty && length >= 8) {
			struct winsize size = { .ws_col = get32(payload), .ws_row = get32(payload + 4) };

			ioctl(p->out, TIOCSWINSZ, &size);
		}
		break;
	case CREDIT:
		if (p && length >= 4)
			p->credit += get32(payload);
		else if (!p)
			send_number(FAILED, id, ESRCH);
		break;
	case CLOSE:
		if (p && p->has_ended)
			forget(p);
		else if (p)
			p->credit = 0;
		break;
	case LIST:
		list();
		break;
	}
}

/* What is no frame, or a broken one, is passed over byte by byte: a restored guest may be in the middle of one. */
static void take_frames(void)
{
	for (;;) {
		int length, whole, skip = 0;

		while (skip < received_length && received[skip] != SYNC_0)
			skip++;
		if (!skip && received_length >= 2 && received[1] != SYNC_1)
			skip = 1;
		if (!skip && received_length >= HEADER_SIZE) {
			length = received[8] | received[9] << 8;
			whole = HEADER_SIZE + length + CHECK_SIZE;
			if (length > MAX_IN) {
				skip = 1;
			} else if (received_length >= whole) {
				if (get32(received + HEADER_SIZE + length) == checksum(received, HEADER_SIZE + length)) {
					handle(received[2], get32(received + 4), received + HEADER_SIZE, length);
					skip = whole;
				} else {
					skip = 1;
				}
			}
		}
		if (!skip)
			return;
		received_length -= skip;
		memmove(received, received + skip, received_length);
	}
}

static void receive(void)
{
	int count = read(port, received + received_length, sizeof received - received_length);

	if (count <= 0)
		return;
	taken += count;
	received_length += count;
	take_frames();
	send_number(TAKEN, 0, taken);
}

static void feed(struct process *p)
{
	int count = write(p->in, p->input + p->input_start, p->input_length);

	if (count < 0 && errno == EAGAIN)
		return;
	/* A process that closed its stdin takes everything, as /dev/null would. */
	if (count < 0)
		count = p->input_length;
	p->input_start += count;
	p->input_length -= count;
	send_number(INPUT_TAKEN, p->id, count);
}

static void end_input(struct process *p)
{
	if (p->is_pty)
		write(p->in, "\004", 1);
	else
		close_end(&p->in);
	p->input_ends = 0;
}

/* Returns whether there may be more. */
static int pass_on(struct process *p, int *fd, int type)
{
	static char bytes[MAX_OUT];
	int count = read(*fd, bytes, p->credit < sizeof bytes ? p->credit : sizeof bytes);

	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (count <= 0) {
		/* A pty has one descriptor for both directions, and EIO for its end. */
		if (p->is_pty)
			p->in = -1;
		close_end(fd);
		return 0;
	}
	p->credit -= count;
	send_frame(type, p->id, bytes, count);
	return p->credit > 0;
}

static void reap(void)
{
	char drained[64];
	int status, i;
	pid_t pid;

	while (read(child_pipe[0], drained, sizeof drained) > 0)
		continue;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < process_count; i++) {
			if (processes[i].pid != pid || processes[i].has_ended)
				continue;
			processes[i].has_ended = 1;
			processes[i].status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		}
	}
}

/* The end is told when the host has all that the process wrote; what others write to its pipes later is nobody's. */
static void tell_end(struct process *p)
{
	if (!p->has_ended || p->was_told || !p->credit)
		return;
	while (p->out >= 0 && p->credit && pass_on(p, &p->out, OUTPUT))
		continue;
	while (p->err >= 0 && p->credit && pass_on(p, &p->err, ERRORS))
		continue;
	if (!p->credit)
		return;
	p->was_told = 1;
	send_number(EXITED, p->id, p->status);
}

static void on_child(int signal)
{
	int saved = errno;

	(void)signal;
	write(child_pipe[1], "", 1);
	errno = saved;
}

static void open_port(void)
{
	struct termios mode;

	port = open(PORT, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (port < 0 || tcgetattr(port, &mode) || ioperm(PORT_DATA, 1, 1)) {
		perror("agent: " PORT);
		exit(1);
	}
	cfmakeraw(&mode);
	cfsetspeed(&mode, B115200);
	mode.c_cflag |= CLOCAL | CREAD;
	mode.c_cflag &= ~CRTSCTS;
	tcsetattr(port, TCSANOW, &mode);
	fcntl(port, F_SETFL, O_NONBLOCK);
}

static void add(struct pollfd *polled, int *count, int fd, int events)
{
	polled[*count].fd = fd;
	polled[*count].events = events;
	(*count)++;
}

int main(void)
{
	static struct pollfd polled[2 + 3 * MAX_PROCESSES];
	struct sigaction action = { .sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP };
	int i, count;

	command = malloc(MAX_COMMAND + 1);
	open_port();
	pipe2(child_pipe, O_CLOEXEC | O_NONBLOCK);
	sigaction(SIGCHLD, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		count = 0;
		add(polled, &count, port, POLLIN);
		add(polled, &count, child_pipe[0], POLLIN);
		for (i = 0; i < process_count; i++) {
			struct process *p = &processes[i];

			if (p->in >= 0 && p->input_length)
				add(polled, &count, p->in, POLLOUT);
			if (p->out >= 0 && p->credit)
				add(polled, &count, p->out, POLLIN);
			if (p->err >= 0 && p->credit)
				add(polled, &count, p->err, POLLIN);
		}
		if (poll(polled, count, -1) < 0)
			continue;
		if (polled[0].revents)
			receive();
		reap();
		for (i = 0; i < process_count; i++) {
			struct process *p = &processes[i];

			if (p->in >= 0 && p->input_length)
				feed(p);
			if (p->in >= 0 && p->input_ends && !p->input_length)
				end_input(p);
			if (p->out >= 0 && p->credit)
				pass_on(p, &p->out, OUTPUT);
			if (p->err >= 0 && p->credit)
				pass_on(p, &p->err, ERRORS);
			tell_end(p);
		}
	}
}
