/* What a child tries that Rust has no safe words for. Its exit status is the error, 0 when it was done. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words)
{
	const char *act = count > 1 ? words[1] : "";
	long done = -1;

	if (!strcmp(act, "nothing"))
		return 0;
	if (!strcmp(act, "session"))
		done = setsid();
	else if (!strcmp(act, "sibling")) {
		/* Its parent is this process's own. */
		done = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
		if (done == 0)
			_exit(0);
	} else if (!strcmp(act, "locks") && count > 2) {
		void *head;
		size_t length;
		done = syscall(SYS_get_robust_list, atoi(words[2]), &head, &length);
	} else
		return 255;
	return done < 0 ? errno : 0;
}
