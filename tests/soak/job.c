// job LOG WITNESS NUMBER MILLISECONDS STATUS: says in LOG when it began and ended, a write(2) each,
// and has WITNESS locked from its first instruction to its last, however it ends: the kernel
// unlocks before it tells anybody that the process is over. "shared" in the log is a proof that
// another job had not ended.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static void say(int log, const char *what, const char *number, const char *how) {
    struct timespec now;
    char line[128];
    clock_gettime(CLOCK_BOOTTIME, &now);
    int length = snprintf(line, sizeof line, "%s %s %d %lld%09ld %s\n", what, number, getpid(),
                          (long long)now.tv_sec, now.tv_nsec, how);
    if (write(log, line, length) != length) err(99, "log");
}

int main(int argc, char **argv) {
    if (argc != 6) errx(99, "usage: see the source");
    int witness = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (witness < 0) err(99, "%s", argv[2]);
    const char *how = "alone";
    if (flock(witness, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK) err(99, "flock");
        how = "shared";
    }
    int log = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0) err(99, "%s", argv[1]);
    say(log, "start", argv[3], how);
    long ms = atol(argv[4]);
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR) {}
    say(log, "end", argv[3], how);
    return atoi(argv[5]);
}
