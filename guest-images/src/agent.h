#ifndef AGENT_H
#define AGENT_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_OUT 8192
#define MAX_PROCESSES 256
#define STDIN_ROOM 65536

enum to_guest { HELLO = 1, PART, SPAWN, INPUT, END_INPUT, KILL, RESIZE, CREDIT, CLOSE, LIST, RENEW };
enum to_host { WELCOME = 65, TAKEN, STARTED, FAILED, OUTPUT, ERRORS, INPUT_TAKEN, EXITED, LISTED, RENEWED };

struct process {
	uint32_t id;
	pid_t pid;
	int in, out, err;
	int is_pty;
	int status, has_ended, was_told;
	/* Nobody asks for it in another session than the one that began it: there it is an orphan, what it writes is dropped, and so is it when it has ended. */
	int is_unkept, is_orphan;
	/* Bytes of stdout and stderr that the host still takes. */
	uint32_t credit;
	char *input;
	uint32_t input_start, input_length;
	int input_ends;
};

/* agent-port.c */
typedef void frame_handler(int type, uint32_t id, const unsigned char *payload, int length);

/* Returns the descriptor of the port. */
int open_port(void);
/* Reads what has arrived and hands on the frames in it. */
void receive(frame_handler *handle);
void begin_session(void);
void send_frame(int type, uint32_t id, const void *payload, int length);
void send_number(int type, uint32_t id, uint32_t number);
uint32_t get32(const unsigned char *p);
void put32(unsigned char *p, uint32_t value);

/* agent-spawn.c */
/* From now on, commands run in the root that process 1 has. */
void follow_init(void);
void spawn(uint32_t id, char *bytes, uint32_t length);

/* agent-process.c */
extern struct process processes[MAX_PROCESSES];
extern int process_count;

/* Returns a descriptor that can be read when a child has ended. */
int watch_children(void);
void reap(void);
struct process *find(uint32_t id);
void forget(struct process *p);
/* Forgets the one that ended first of those whose end nobody waits for. Returns whether there was one. */
int forget_eldest(void);
void orphan(struct process *p);
void close_end(int *fd);
void take_input(struct process *p, const unsigned char *bytes, int length);
/* Carries on between a process and the host whatever is there. Forgets an orphan that has ended: those behind it move up. */
void attend(struct process *p);
void list(void);

/* agent-renew.c */
void welcome(uint32_t session);
void renew(uint32_t id, const unsigned char *payload, int length);

#endif
