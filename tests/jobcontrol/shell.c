// A small shell with job control, the jobs that are watched under it, and a terminal for both. In C: a
// runtime would change signals and descriptors before the first line of the test ran.
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const int of_job_control[] = {SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU};
static int tty;

static void each_of_job_control(void (*handler)(int)) {
    for (unsigned at = 0; at < sizeof of_job_control / sizeof *of_job_control; at++)
        signal(of_job_control[at], handler);
}

// A new session, whose terminal this is.
static void lead_session_on(const char *path) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (setsid() < 0) err(99, "setsid");
    tty = open(path, O_RDWR | O_CLOEXEC);
    if (tty < 0) err(99, "%s", path);
    struct termios termios;
    tcgetattr(tty, &termios);
    termios.c_lflag &= ~ECHO;
    tcsetattr(tty, TCSANOW, &termios);
}

// The command on the terminal, but for its stdout.
static void become(char **command, int output) {
    dup2(output, 1);
    dup2(tty, 0);
    dup2(tty, 2);
    execvp(*command, command);
    err(99, "%s", *command);
}

static pid_t start(char **command, int foreground) {
    pid_t job = fork();
    if (job < 0) err(99, "fork");
    if (!job) {
        setpgid(0, 0);
        if (foreground) tcsetpgrp(tty, getpid());
        each_of_job_control(SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        become(command, 2);
    }
    setpgid(job, job);
    if (foreground) tcsetpgrp(tty, job);
    dprintf(1, "started %d\n", job);
    return job;
}

// What waitpid(2) says; a job that is not in the foreground any more has lost the terminal.
static void tell(int *foreground) {
    int status;
    while (waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED) > 0) {
        if (WIFCONTINUED(status)) {
            dprintf(1, "continued\n");
            continue;
        }
        if (*foreground) tcsetpgrp(tty, getpid());
        *foreground = 0;
        if (WIFSTOPPED(status)) dprintf(1, "stopped %d\n", WSTOPSIG(status));
        else if (WIFEXITED(status)) dprintf(1, "exited %d\n", WEXITSTATUS(status));
        else dprintf(1, "killed %d\n", WTERMSIG(status));
    }
}

// shell TTY COMMAND...: does what its stdin says with the job COMMAND: run (in the foreground), start
// (in the background), fg, bg, owner, tostop, size ROWS COLUMNS;
// give (the terminal, without SIGCONT). The job's stdout is our stderr.
static int shell(char **word) {
    lead_session_on(word[0]);
    each_of_job_control(SIG_IGN);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    struct pollfd fds[] = {{.fd = signalfd(-1, &children, SFD_CLOEXEC), .events = POLLIN},
                           {.fd = 0, .events = POLLIN}};
    pid_t job = 0;
    int foreground = 0;
    for (;;) {
        if (poll(fds, 2, -1) < 0) err(99, "poll");
        if (fds[0].revents) {
            struct signalfd_siginfo info;
            read(fds[0].fd, &info, sizeof info);
            tell(&foreground);
        }
        if (!fds[1].revents) continue;
        char line[64];
        ssize_t count = read(0, line, sizeof line - 1); // the test writes a line at a time, and waits
        if (count <= 0) return 0;
        line[count] = 0;
        struct winsize size = {0};
        struct termios termios;
        if (!strcmp(line, "run\n")) {
            foreground = 1;
            job = start(word + 1, 1);
        } else if (!strcmp(line, "start\n")) {
            job = start(word + 1, 0);
        } else if (!strcmp(line, "fg\n")) {
            foreground = 1;
            tcsetpgrp(tty, job);
            kill(-job, SIGCONT);
        } else if (!strcmp(line, "bg\n")) {
            kill(-job, SIGCONT);
        } else if (!strcmp(line, "give\n")) {
            foreground = 1;
            tcsetpgrp(tty, job);
            dprintf(1, "given\n");
        } else if (!strcmp(line, "owner\n")) {
            pid_t owner = tcgetpgrp(tty);
            dprintf(1, "owner %s\n", owner == getpid() ? "shell" : owner == job ? "job" : "other");
        } else if (!strcmp(line, "tostop\n")) {
            tcgetattr(tty, &termios);
            termios.c_lflag |= TOSTOP;
            tcsetattr(tty, TCSANOW, &termios);
            dprintf(1, "set\n");
        } else if (sscanf(line, "size %hu %hu", &size.ws_row, &size.ws_col) == 2) {
            ioctl(tty, TIOCSWINSZ, &size);
        } else {
            errx(99, "no such command: %s", line);
        }
    }
}

static void on_continue(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    if (info->si_code > 0) write(1, "18 kernel\n", 10);
    else write(1, "18 user\n", 8);
}

static void read_line(void) {
    char line[64];
    ssize_t count = read(0, line, sizeof line);
    dprintf(1, "read %.*s\n", count > 0 ? (int)count - 1 : 5, count > 0 ? line : "error");
}

// job [lead] [own] [read] [write]: prints "ready PID PPID", then a line for each signal; stops are left
// to their default. USR2 ends it with status 7, ALRM lets it read a line. First it makes itself the leader of a group, takes the
// terminal, reads a line of it, or writes one.
static int job(char **word) {
    struct sigaction action = {.sa_sigaction = on_continue, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGCONT, &action, NULL);
    sigset_t all;
    sigfillset(&all);
    const int apart[] = {SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD};
    for (unsigned at = 0; at < sizeof apart / sizeof *apart; at++) sigdelset(&all, apart[at]);
    struct sigaction old;
    if (!sigaction(SIGHUP, NULL, &old) && old.sa_handler == SIG_IGN) sigdelset(&all, SIGHUP);
    sigprocmask(SIG_SETMASK, &all, NULL);
    if (*word && !strcmp(*word, "lead")) setpgid(0, 0), word++;
    if (*word && !strcmp(*word, "own")) {
        signal(SIGTTOU, SIG_IGN);
        tcsetpgrp(0, getpgrp());
        signal(SIGTTOU, SIG_DFL);
        word++;
    }
    dprintf(1, "ready %d %d\n", getpid(), getppid());
    if (*word && !strcmp(*word, "read")) read_line();
    if (*word && !strcmp(*word, "write")) dprintf(1, write(2, "x\n", 2) == 2 ? "wrote\n" : "failed\n");
    for (;;) {
        siginfo_t info;
        int signal = sigwaitinfo(&all, &info);
        if (signal < 0) continue;
        if (signal == SIGUSR2) return 7;
        dprintf(1, "%d %s\n", signal, info.si_code > 0 ? "kernel" : "user");
        if (signal == SIGWINCH) system("stty size");
        if (signal == SIGALRM) read_line();
    }
}

// leader TTY COMMAND...: becomes COMMAND, which leads a session on that terminal.
int main(int argc, char **argv) {
    if (argc > 3 && !strcmp(argv[1], "shell")) return shell(argv + 2);
    if (argc > 1 && !strcmp(argv[1], "job")) return job(argv + 2);
    if (argc < 4 || strcmp(argv[1], "leader")) errx(99, "usage: see the source");
    lead_session_on(argv[2]);
    become(argv + 3, 1);
}
