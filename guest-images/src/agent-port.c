/*
 * Frames to and from the host, over the second UART.
 *
 * Those to the host go straight to the UART's port: v86 takes a byte at once, and the kernel's
 * driver would take an interrupt for every sixteen.
 */
#include "agent.h"
#include <stdio.h>
#include <sys/io.h>
#include <termios.h>

#define PORT "/dev/ttyS1"
#define PORT_DATA 0x2f8

#define SYNC_0 0xa5
#define SYNC_1 0x5a
#define HEADER_SIZE 10
#define CHECK_SIZE 4
#define MAX_IN 1024

static int port;
static uint32_t taken;
/* Bytes that have arrived behind the frame that is being handled. */
static int following;
static unsigned char received[MAX_IN + HEADER_SIZE + CHECK_SIZE];
static int received_length;

uint32_t get32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

void put32(unsigned char *p, uint32_t value)
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

void send_frame(int type, uint32_t id, const void *payload, int length)
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

void send_number(int type, uint32_t id, uint32_t number)
{
	unsigned char payload[4];

	put32(payload, number);
	send_frame(type, id, payload, sizeof payload);
}

/* The host counts what the guest takes from here on. */
void begin_session(void)
{
	taken = following;
}

/* What is no frame, or a broken one, is passed over byte by byte: a restored guest may be in the middle of one. */
static void take_frames(frame_handler *handle)
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
					following = received_length - whole;
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

void receive(frame_handler *handle)
{
	int count = read(port, received + received_length, sizeof received - received_length);

	if (count <= 0)
		return;
	taken += count;
	received_length += count;
	take_frames(handle);
	send_number(TAKEN, 0, taken);
}

int open_port(void)
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
	return port;
}
