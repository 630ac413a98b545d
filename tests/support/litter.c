// Jobs that leave processes behind, and bombs. All that come of one hold its leash open, a FIFO, for
// reading: the test sees by its own end whether any of them is left, and when the test is over, however
// that comes, they find nobody at the other end, and end.
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BEGUN 9 // where those who have begun say so

static int leash;

// Whether the test has let go; waits for that with a timeout of -1.
static int is_let_go(int timeout) {
    struct pollfd end = {.fd = leash};
    return poll(&end, 1, timeout) > 0;
}

static void sit(void) {
    while (!is_let_go(-1)) continue;
    exit(0);
}

// Says what is to be said, once, and is silent from then on: nobody waits for the end of our output.
static void begin(const char *text) {
    if (fcntl(BEGUN, F_GETFD) < 0) return;
    if (*text) dprintf(1, "%s\n", text);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    close(null);
    write(BEGUN, "", 1);
    close(BEGUN);
}

// Forks a successor and ends, again and again.
static void fly(int sessions) {
    for (int hops = 0; !is_let_go(0);) {
        pid_t child = fork();
        if (child > 0) _exit(0);
        if (child < 0) continue;
        if (sessions) setsid();
        if (++hops == 100) begin("flying");
    }
}

// Forks, and so does whoever comes of it.
static void swell(int sessions) {
    while (!is_let_go(0)) {
        pid_t child = fork();
        if (!child && sessions) setsid();
        if (child < 0) begin("full"), usleep(1000);
    }
}

static int has(char **word, const char *option) {
    for (; *word; word++)
        if (!strcmp(*word, option)) return 1;
    return 0;
}

static int number(char **word, const char *format, int value) {
    for (; *word; word++) sscanf(*word, format, &value);
    return value;
}

// What the job leaves behind.
static int become(const char *what, char **options) {
    if (has(options, "deaf"))
        for (const int *s = (int[]){SIGTERM, SIGINT, SIGHUP, 0}; *s; s++) signal(*s, SIG_IGN);
    uid_t uid = number(options, "uid=%d", -1);
    if (uid != (uid_t)-1 && setresuid(uid, uid, uid)) err(99, "setresuid");
    if (!strcmp(what, "comet")) fly(has(options, "setsid"));
    if (!strcmp(what, "bomb")) swell(has(options, "setsid"));
    if (!strcmp(what, "sit")) {
        char pid[16];
        snprintf(pid, sizeof pid, "%d", getpid());
        begin(has(options, "quiet") ? "" : pid);
        sit();
    }
    return 0;
}

// litter sit|comet|bomb LEASH [deaf] [clean] [setsid] [twice] [quiet] [stay] [n=N] [exit=N]
// [nproc=N] [uid=N]
//
// sit: leaves N processes that do nothing, each of which says its PID. comet: one that forks a
// successor and exits at once, again and again; says "flying". bomb: processes that fork without end;
// says "full" when no more can be had.
// deaf: they ignore TERM, INT and HUP. clean: they have no environment. setsid: each has a session of
// its own. twice: their parents are over. uid: they are that user's (litter itself is root's then, and setuid). stay: the job itself sits, too; else it exits when they have
// begun.
int main(int argc, char **argv, char **envp) {
    if (argc < 3) errx(99, "usage: see the source");
    leash = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (leash < 0) err(99, "%s", argv[2]);
    if (!strcmp(argv[0], "become")) return become(argv[1], argv + 3);
    int count = number(argv, "n=%d", 1), limit = number(argv, "nproc=%d", 0);
    if (limit && setrlimit(RLIMIT_NPROC, &(struct rlimit){limit, limit})) err(99, "setrlimit");
    int begun[2];
    if (pipe2(begun, O_CLOEXEC)) err(99, "pipe");
    for (int left = count; left; left--) {
        pid_t child = fork();
        if (child < 0) err(99, "fork");
        if (child) continue;
        if (has(argv, "setsid")) setsid();
        if (has(argv, "twice") && fork()) _exit(0);
        dup2(begun[1], BEGUN);
        argv[0] = "become"; // exec is what cleans /proc/PID/environ
        execve("/proc/self/exe", argv, has(argv, "clean") ? (char *[]){NULL} : envp);
        err(99, "exec");
    }
    close(begun[1]);
    char byte;
    for (int left = count; left; left--)
        if (read(begun[0], &byte, 1) != 1) errx(99, "they did not begin");
    if (has(argv, "stay")) sit();
    return number(argv, "exit=%d", 0);
}
