/*
 * What a guest must not go on with when it comes back from a snapshot: the time of then, and the
 * random numbers that every other one from that snapshot will have too.
 */
#include "agent.h"
#include <time.h>

#define MAX_SEED 256
/* linux/random.h */
#define RNDADDENTROPY _IOW('R', 3, int[2])
#define RNDRESEEDCRNG _IO('R', 7)

#define NANOSECONDS 1000000000

/* Payload of RENEW: u32 flags, i64 seconds and u32 nanoseconds to put the clock forward by; then the seed. */
#define SET_CLOCK 1
#define RENEW_HEAD 16

static uint64_t get64(const unsigned char *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static void put64(unsigned char *p, uint64_t value)
{
	put32(p, value);
	put32(p + 4, value >> 32);
}

/* Payload of WELCOME: what the guest's clock says, i64 seconds and u32 nanoseconds. */
void welcome(uint32_t session)
{
	unsigned char payload[12];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	put64(payload, now.tv_sec);
	put32(payload + 8, now.tv_nsec);
	send_frame(WELCOME, session, payload, sizeof payload);
}

/* However late this comes, the clock is right afterwards: it is told by how much to go, not where to. */
static int adjust_clock(int64_t seconds, uint32_t nanoseconds)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now))
		return errno;
	now.tv_sec += seconds;
	now.tv_nsec += nanoseconds % NANOSECONDS;
	if (now.tv_nsec >= NANOSECONDS) {
		now.tv_sec++;
		now.tv_nsec -= NANOSECONDS;
	}
	return clock_settime(CLOCK_REALTIME, &now) ? errno : 0;
}

/* As the kernel itself does when a vmgenid device tells it of a new generation: mixes the seed in, and makes a new key at once. */
static int reseed(const unsigned char *seed, int length)
{
	struct {
		int entropy_count, buf_size;
		unsigned char buf[MAX_SEED];
	} pool = { .entropy_count = 8 * length, .buf_size = length };
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC), error = 0;

	if (fd < 0)
		return errno;
	memcpy(pool.buf, seed, length);
	if (ioctl(fd, RNDADDENTROPY, &pool) || ioctl(fd, RNDRESEEDCRNG))
		error = errno;
	close(fd);
	return error;
}

/* Payload of RENEWED: an errno for the clock, and one for the seed. */
void renew(uint32_t id, const unsigned char *payload, int length)
{
	unsigned char errors[8] = { 0 };
	int seed = length - RENEW_HEAD;

	if (seed < 0 || seed > MAX_SEED)
		return;
	if (get32(payload) & SET_CLOCK)
		put32(errors, adjust_clock(get64(payload + 4), get32(payload + 12)));
	if (seed)
		put32(errors + 4, reseed(payload + RENEW_HEAD, seed));
	send_frame(RENEWED, id, errors, sizeof errors);
}
