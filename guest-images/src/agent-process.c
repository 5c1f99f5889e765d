/* The processes that the host has started: what goes to them and comes from them. */
#include "agent.h"
#include <signal.h>
#include <sys/wait.h>

struct process processes[MAX_PROCESSES];
int process_count;

static int child_pipe[2];

struct process *find(uint32_t id)
{
	int i;

	for (i = 0; i < process_count; i++)
		if (processes[i].id == id)
			return &processes[i];
	return NULL;
}

void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void forget(struct process *p)
{
	if (p->is_pty)
		p->in = -1;
	close_end(&p->in);
	close_end(&p->out);
	close_end(&p->err);
	free(p->input);
	process_count--;
	memmove(p, p + 1, (char *)&processes[process_count] - (char *)p);
}

int forget_eldest(void)
{
	int i;

	for (i = 0; i < process_count; i++) {
		if (processes[i].has_ended && !processes[i].credit) {
			forget(&processes[i]);
			return 1;
		}
	}
	return 0;
}

void orphan(struct process *p)
{
	p->is_orphan = 1;
	p->input_ends = !p->is_pty;
}

void take_input(struct process *p, const unsigned char *bytes, int length)
{
	if (p->in < 0 || p->input_length + length > STDIN_ROOM)
		return;
	memmove(p->input, p->input + p->input_start, p->input_length);
	p->input_start = 0;
	memcpy(p->input + p->input_length, bytes, length);
	p->input_length += length;
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
	if (!p->is_pty)
		close_end(&p->in);
	/* A terminal that is full takes it later. */
	else if (write(p->in, "\004", 1) < 0 && errno == EAGAIN)
		return;
	p->input_ends = 0;
}

/* Returns whether there may be more. */
static int pass_on(struct process *p, int *fd, int type)
{
	static char bytes[MAX_OUT];
	int count = read(*fd, bytes, !p->is_orphan && p->credit < sizeof bytes ? p->credit : sizeof bytes);

	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (count <= 0) {
		/* A pty has one descriptor for both directions, and EIO for its end. */
		if (p->is_pty)
			p->in = -1;
		close_end(fd);
		return 0;
	}
	if (p->is_orphan)
		return 1;
	p->credit -= count;
	send_frame(type, p->id, bytes, count);
	return p->credit > 0;
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

void attend(struct process *p)
{
	if (p->in >= 0 && p->input_length)
		feed(p);
	if (p->in >= 0 && p->input_ends && !p->input_length)
		end_input(p);
	if (p->out >= 0 && (p->credit || p->is_orphan))
		pass_on(p, &p->out, OUTPUT);
	if (p->err >= 0 && (p->credit || p->is_orphan))
		pass_on(p, &p->err, ERRORS);
	tell_end(p);
	if (p->is_orphan && p->has_ended)
		forget(p);
}

void list(void)
{
	unsigned char ids[4 * MAX_PROCESSES];
	int i;

	for (i = 0; i < process_count; i++)
		put32(ids + 4 * i, processes[i].id);
	send_frame(LISTED, 0, ids, 4 * process_count);
}

void reap(void)
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

static void on_child(int signal)
{
	int saved = errno;

	(void)signal;
	write(child_pipe[1], "", 1);
	errno = saved;
}

int watch_children(void)
{
	struct sigaction action = { .sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP };

	pipe2(child_pipe, O_CLOEXEC | O_NONBLOCK);
	sigaction(SIGCHLD, &action, NULL);
	return child_pipe[0];
}
