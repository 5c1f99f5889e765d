#include <sys/stat.h>

/* What a word stands for; a number for itself. */
int number(const char *name);
/* Of names with "|" between them, which are cut apart. */
int flags_of(char *names);

/* Prints a word, with %XX for what would end it. */
void told(const char *text);
/* Prints the end of a line: what a system call has returned, or "ok", or its error's name. */
void result(long long returned, int is_value);
void print_stat(int returned, struct stat *s);
