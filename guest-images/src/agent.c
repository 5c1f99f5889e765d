/*
 * Runs commands for the host, over the second UART. The host's side is harness/guest-agent.ts, where
 * the protocol is described.
 */
#include "agent.h"
#include <poll.h>
#include <signal.h>
#include <termios.h>

#define MAX_COMMAND 262144

static char *command;
static uint32_t command_length;

static void handle(int type, uint32_t id, const unsigned char *payload, int length)
{
	struct process *p = find(id);
	int i;

	switch (type) {
	case HELLO:
		begin_session();
		command_length = 0;
		for (i = 0; i < process_count; i++) {
			processes[i].credit = 0;
			processes[i].was_told = 0;
			if (processes[i].is_unkept)
				orphan(&processes[i]);
		}
		welcome(id);
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
		if (p)
			take_input(p, payload, length);
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
		if (p && length >= 4) {
			p->credit += get32(payload);
			p->is_orphan = 0;
		} else if (!p)
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
	case RENEW:
		renew(id, payload, length);
		break;
	}
}

static void add(struct pollfd *polled, int *count, int fd, int events)
{
	polled[*count].fd = fd;
	polled[*count].events = events;
	(*count)++;
}

/* With an argument, the root of process 1 may become another one. */
int main(int argc, char *argv[])
{
	static struct pollfd polled[2 + 3 * MAX_PROCESSES];
	int port, children, i, count;

	if (argc > 1)
		follow_init();
	command = malloc(MAX_COMMAND + 1);
	port = open_port();
	children = watch_children();
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		count = 0;
		add(polled, &count, port, POLLIN);
		add(polled, &count, children, POLLIN);
		for (i = 0; i < process_count; i++) {
			struct process *p = &processes[i];

			if (p->in >= 0 && (p->input_length || p->input_ends))
				add(polled, &count, p->in, POLLOUT);
			if (p->out >= 0 && (p->credit || p->is_orphan))
				add(polled, &count, p->out, POLLIN);
			if (p->err >= 0 && (p->credit || p->is_orphan))
				add(polled, &count, p->err, POLLIN);
		}
		if (poll(polled, count, -1) < 0)
			continue;
		if (polled[0].revents)
			receive(handle);
		reap();
		for (i = process_count; i--;)
			attend(&processes[i]);
	}
}
