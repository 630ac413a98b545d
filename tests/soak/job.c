// job LOG WITNESS LOG2 WITNESS2 NUMBER MILLISECONDS STATUS MODE: says in LOG when it began and ended, a
// write(2) each, and has WITNESS locked from its first instruction to its last, however it ends: the
// kernel unlocks before it tells anybody that the process is over. The same in LOG2 and WITNESS2, its
// second machine, unless they are "-". MODE is "x" for a job that is alone there, "s" for one that
// shares with others of that mode, "n" for one that does so with one other. "crowded" in the log is a
// proof that a job had not ended that should not be there.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static const char *mode;

static void say(int log, const char *what, const char *number, const char *how) {
    struct timespec now;
    char line[128];
    clock_gettime(CLOCK_BOOTTIME, &now);
    int length = snprintf(line, sizeof line, "%s %s %d %lld%09ld %s %s\n", what, number, getpid(),
                          (long long)now.tv_sec, now.tv_nsec, how, mode);
    if (write(log, line, length) != length) err(99, "log");
}

// Whether the witness could be locked so.
static int lock(const char *witness, const char *suffix, int how) {
    char path[4096];
    snprintf(path, sizeof path, "%s%s", witness, suffix);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) err(99, "%s", path);
    if (!flock(fd, how | LOCK_NB)) return 1;
    if (errno != EWOULDBLOCK) err(99, "flock");
    return close(fd), 0;
}

static int is_free(const char *witness) {
    if (*mode == 'x') return lock(witness, "", LOCK_EX);
    if (!lock(witness, "", LOCK_SH)) return 0;
    return *mode == 's' || lock(witness, ".1", LOCK_EX) || lock(witness, ".2", LOCK_EX);
}

static int open_log(const char *path) {
    int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0) err(99, "%s", path);
    return log;
}

int main(int argc, char **argv) {
    if (argc != 9) errx(99, "usage: see the source");
    int machines = strcmp(argv[3], "-") ? 2 : 1, logs[2];
    mode = argv[8];
    for (int i = 0; i < machines; i++) {
        const char *how = is_free(argv[2 + 2 * i]) ? "alone" : "crowded";
        say(logs[i] = open_log(argv[1 + 2 * i]), "start", argv[5], how);
    }
    long ms = atol(argv[6]);
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR) {}
    for (int i = 0; i < machines; i++) say(logs[i], "end", argv[5], "alone");
    return atoi(argv[7]);
}
