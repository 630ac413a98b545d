// job LOG WITNESS slow|deaf|quick MILLISECONDS: a service that says in LOG when it began and ended, a
// write(2) each, and has WITNESS locked from its first instruction to its last, however it ends.
// "shared" in the log is a proof that another one had not ended.
//
// slow: runs until TERM, and then so long, counting the TERMs.
// deaf: runs on whatever comes.
// quick: runs so long.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void say(int log, const char *what, const char *how) {
    char line[128];
    int length = snprintf(line, sizeof line, "%s %d %lld %s\n", what, getpid(), now(), how);
    if (write(log, line, length) != length) err(99, "log");
}

int main(int argc, char **argv) {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    if (argc != 5) errx(99, "usage: see the source");
    int witness = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (witness < 0) err(99, "%s", argv[2]);
    const char *how = "alone";
    if (flock(witness, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK) err(99, "flock");
        how = "shared";
    }
    int log = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0) err(99, "%s", argv[1]);
    say(log, "start", how);

    long long left = atoll(argv[4]) * 1000000;
    if (!strcmp(argv[3], "deaf")) for (;;) pause();
    if (!strcmp(argv[3], "slow")) {
        while (sigwaitinfo(&term, NULL) < 0) {}
        say(log, "term", how);
    }
    long long until = now() + left;
    while ((left = until - now()) > 0) {
        struct timespec wait = {left / 1000000000, left % 1000000000};
        if (sigtimedwait(&term, NULL, &wait) > 0) say(log, "term", how);
    }
    say(log, "end", how);
    return 0;
}
