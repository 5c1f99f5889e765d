/* Tells what inotify has to say of the paths that are its arguments, a line for each event, until it is killed. */
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static _Alignas(struct inotify_event) char events[4096];
	int fd = inotify_init1(IN_CLOEXEC), n;
	ssize_t length, at;

	for (n = 1; n < argc; n++)
		if (inotify_add_watch(fd, argv[n], IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MODIFY | IN_MOVE) < 0) {
			perror(argv[n]);
			return 1;
		}
	puts("watching");
	fflush(stdout);
	while ((length = read(fd, events, sizeof events)) > 0) {
		for (at = 0; at < length;) {
			struct inotify_event *event = (struct inotify_event *)(events + at);

			printf("%s%s%s %s\n", argv[event->wd], event->len ? "/" : "", event->len ? event->name : "", event->mask & IN_ATTRIB ? "attrib" : "other");
			at += sizeof *event + event->len;
		}
		fflush(stdout);
	}
	return 1;
}
