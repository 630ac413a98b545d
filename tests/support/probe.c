// What a job can tell about itself, said from C: a runtime (Rust's, Python's) would change signal
// dispositions and standard descriptors before the first line of the test ran.
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The kernel's own types: the C library hides signals 32 and 33 from its wrappers.
struct action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
#define BIT(signal) (UINT64_C(1) << ((signal) - 1))

static void set_mask(uint64_t mask) {
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask)) err(99, "sigprocmask");
}

static void set_handler(int signal, void (*handler)(int)) {
    struct action action = {.handler = handler};
    syscall(SYS_rt_sigaction, signal, &action, NULL, sizeof action.mask); // not for KILL and STOP
}

static int is_ignored(int signal) {
    struct action action;
    return !syscall(SYS_rt_sigaction, signal, NULL, &action, sizeof action.mask)
        && action.handler == SIG_IGN;
}

// The value of "name=value", or NULL when `option` is another.
static const char *value(const char *option, const char *name) {
    size_t length = strlen(name);
    return strncmp(option, name, length) || option[length] != '=' ? NULL : option + length + 1;
}

// One write(2) a line, so that the lines of two processes don't mix.
#define SAY(...) (dprintf(1, __VA_ARGS__))

static void greet(pid_t supervisor) { SAY("ready %d %d %d\n", getpid(), supervisor, getpgrp()); }

// probe rest: prints "ready PID PPID PGRP", and leaves all signals to what it inherited.
static int rest(void) {
    greet(getppid());
    uint64_t none = 0;
    while (syscall(SYS_rt_sigtimedwait, &none, NULL, NULL, sizeof none)) {}
    return 0;
}

// probe signals [default=N] [parent=N] [child=N] [fork] [count=FILE] [until=N]: greets as `rest` does,
// then prints a line for each signal that arrives, unless it is ignored or left to its default, with
// the number in FILE. It sends N to its parent, itself or through a child, and says "sent"; or forks a
// child that prints its signals, too; or ends after signal N.
static int signals(char **option) {
    uint64_t all = ~UINT64_C(0);
    for (int signal = 1; signal <= 64; signal++)
        if (is_ignored(signal)) all &= ~BIT(signal);
    const char *who = "", *text;
    for (char **word = option; *word; word++)
        if ((text = value(*word, "default"))) all &= ~BIT(atoi(text));
    set_mask(all);
    int until = 0, file = -1, count;
    pid_t supervisor = getppid();
    greet(supervisor);
    for (; *option; option++) {
        if ((text = value(*option, "until"))) {
            until = atoi(text);
        } else if ((text = value(*option, "count"))) {
            file = open(text, O_RDONLY);
        } else if ((text = value(*option, "parent"))) {
            kill(supervisor, atoi(text));
            SAY("sent\n");
        } else if ((text = value(*option, "child"))) {
            if (!fork()) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                kill(supervisor, atoi(text));
                SAY("sent\n");
                for (;;) pause(); // a sender that is gone cannot be told from a stranger
            }
        } else if (!strcmp(*option, "fork") && !fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            who = "child ";
            SAY("child ready %d\n", getpid());
            break;
        }
    }
    for (;;) {
        siginfo_t info;
        int signal = syscall(SYS_rt_sigtimedwait, &all, &info, NULL, sizeof all);
        if (signal < 0) continue; // stopped and continued
        if (pread(file, &count, sizeof count, 0) == sizeof count) SAY("%d at %d\n", signal, count);
        else if (info.si_code == SI_QUEUE) SAY("%s%d queued %d\n", who, signal, info.si_int);
        else SAY("%s%d %s\n", who, signal, info.si_code > 0 ? "kernel" : "user");
        if (signal == until) return 0;
    }
}

// probe storm PID N COUNT: queues signal N COUNT times.
static int storm(char **word) {
    pid_t pid = atoi(word[0]);
    int signal = atoi(word[1]), count = atoi(word[2]);
    for (int sent = 0; sent < count; sent++)
        while (sigqueue(pid, signal, (union sigval){.sival_int = sent}))
            poll(NULL, 0, 1); // EAGAIN: RLIMIT_SIGPENDING
    return 0;
}

// probe die N: ends by signal N.
static int die(char **word) {
    int signal = atoi(word[0]);
    set_handler(signal, SIG_DFL);
    kill(getpid(), signal);
    set_mask(~BIT(signal));
    errx(99, "survived signal %d", signal);
}

// probe orphan: makes an orphan that ends as soon as it is one, and says "reaped" when its new parent
// has seen to it, "left" when it has not within some seconds.
static int orphan(void) {
    int ends[2];
    pid_t parent, pid;
    if (pipe(ends)) err(99, "pipe");
    if (!(parent = fork())) {
        parent = getpid();
        pid = fork();
        if (pid) return write(ends[1], &pid, sizeof pid) != sizeof pid;
        while (getppid() == parent) poll(NULL, 0, 1);
        return 0;
    }
    if (read(ends[0], &pid, sizeof pid) != sizeof pid) err(99, "read");
    waitpid(parent, NULL, 0);
    int tries = 300;
    while (!kill(pid, 0) && --tries) poll(NULL, 0, 10);
    SAY(tries ? "reaped\n" : "left\n");
    return 0;
}

static void copy_file(FILE *out, const char *path, const char *only) {
    FILE *in = fopen(path, "re");
    char line[4096];
    while (in && fgets(line, sizeof line, in)) {
        char *colon = strchr(line, ':');
        char key[64];
        snprintf(key, sizeof key, " %.*s ", colon ? (int)(colon - line) : 0, line);
        if (!only || strstr(only, key)) fprintf(out, "same %s: %s", path, line);
    }
    if (in) fclose(in);
}

// probe keeper reaps|lazy COMMAND...: runs COMMAND, says its PID, and takes in the orphans of it, which it
// reaps or leaves as they are.
static int keeper(char **word) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t child = fork();
    if (!child) {
        printf("%d\n", getpid());
        fflush(stdout);
        execvp(word[1], word + 1);
        err(99, "%s", word[1]);
    }
    waitpid(child, NULL, 0);
    if (!strcmp(word[0], "reaps"))
        while (wait(NULL) > 0) continue;
    for (;;) pause();
}

static void *last(void *status) {
    // The first thread is over when its process shows as a zombie.
    char state = 0;
    while (state != 'Z') {
        FILE *stat = fopen("/proc/self/stat", "r");
        if (!stat || fscanf(stat, "%*d (probe) %c", &state) != 1) err(99, "/proc/self/stat");
        fclose(stat);
    }
    exit(atoi(status));
}

// probe lastthread STATUS: exits with it from another thread than the first, which is over by then.
static int lastthread(char **word) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, last, word[0])) errx(99, "no thread");
    pthread_exit(NULL);
}

// probe report FILE [WORD...]: writes everything a process inherits, "same ..." where a wrapper must
// not show, "own ..." where it may.
static int report(char **word, char **argv, char **envp) {
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (int fd = 0; fd < 1024; fd++) {
        char path[64], target[4096] = "";
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0) continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) < 0) err(99, "%s", path);
        fprintf(out, "same fd %d: %s flags %d %o\n", fd, target, flags, fcntl(fd, F_GETFL));
    }
    copy_file(out, "/proc/self/status",
              " Umask Uid Gid Groups SigPnd ShdPnd SigBlk SigIgn SigCgt CapInh CapPrm CapEff CapBnd "
              "CapAmb NoNewPrivs Seccomp Cpus_allowed Mems_allowed Name ");
    copy_file(out, "/proc/self/limits", NULL);
    copy_file(out, "/proc/self/cgroup", NULL);
    copy_file(out, "/proc/self/oom_score_adj", NULL);
    copy_file(out, "/proc/self/timerslack_ns", NULL);
    char *cwd = getcwd(NULL, 0);
    fprintf(out, "same cwd: %s\nsame nice: %d\n", cwd, getpriority(PRIO_PROCESS, 0));
    fprintf(out, "same dumpable: %d\n", prctl(PR_GET_DUMPABLE));
    for (; *argv; argv++) fprintf(out, "same argv: %s\n", *argv);
    for (; *envp; envp++)
        fprintf(out, "%s env: %s\n", strncmp(*envp, "JOBGUARD_", 9) ? "same" : "own", *envp);
    int signal;
    prctl(PR_GET_PDEATHSIG, &signal);
    fprintf(out, "own pdeathsig: %d\nown leads group: %d\nown group is parent's: %d\n"
            "own session is parent's: %d\n", signal, getpgrp() == getpid(),
            getpgrp() == getpgid(getppid()), getsid(0) == getsid(getppid()));
    fclose(out);
    int fd = open(word[0], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    return write(fd, text, size) != (ssize_t)size;
}

// probe launch [ignore=HEX] [mask=HEX] [open=N] [close=N] [umask=OCTAL] [nice=N] [core=N]
// [nofile=N] [pending=N] [env=ENTRY] [raise=N] [setsid] [setpgid] [say=LINE] -- COMMAND...: becomes
// COMMAND (a path) in that state.
static int launch(char **option, char **envp) {
    char *entries[4096];
    size_t count = 0;
    while (envp[count]) entries[count] = envp[count], count++;
    for (; *option && strcmp(*option, "--"); option++) {
        const char *text;
        if ((text = value(*option, "ignore"))) {
            uint64_t set = strtoull(text, NULL, 16);
            for (int signal = 1; signal <= 64; signal++)
                set_handler(signal, set & BIT(signal) ? SIG_IGN : SIG_DFL);
        } else if ((text = value(*option, "mask"))) {
            set_mask(strtoull(text, NULL, 16));
        } else if ((text = value(*option, "open"))) {
            int fd = open("/dev/null", O_RDWR | O_NONBLOCK);
            dup2(fd, atoi(text));
            if (fd != atoi(text)) close(fd);
        } else if ((text = value(*option, "close"))) {
            close(atoi(text));
        } else if ((text = value(*option, "umask"))) {
            umask(strtol(text, NULL, 8));
        } else if ((text = value(*option, "nice"))) {
            setpriority(PRIO_PROCESS, 0, atoi(text));
        } else if ((text = value(*option, "core"))) {
            setrlimit(RLIMIT_CORE, &(struct rlimit){atoi(text), RLIM_INFINITY});
        } else if ((text = value(*option, "nofile"))) {
            setrlimit(RLIMIT_NOFILE, &(struct rlimit){atoi(text), atoi(text)});
        } else if ((text = value(*option, "pending"))) {
            setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){atoi(text), atoi(text)});
        } else if ((text = value(*option, "env"))) {
            entries[count++] = (char *)text;
        } else if ((text = value(*option, "say"))) {
            SAY("%s\n", text);
        } else if (!strcmp(*option, "setsid")) {
            setsid();
        } else if (!strcmp(*option, "setpgid")) {
            setpgid(0, 0);
        } else if ((text = value(*option, "raise"))) {
            kill(getpid(), atoi(text));
        } else {
            errx(99, "no such option: %s", *option);
        }
    }
    entries[count] = NULL;
    if (!*option) errx(99, "launch what?");
    execve(option[1], option + 1, entries);
    err(99, "%s", option[1]);
}

// probe pty COMMAND...: runs COMMAND on a terminal of its own, without echo, stdin typed into it and
// its output on stdout; ends as COMMAND ends.
static int pty(char **command) {
    int master;
    pid_t child = forkpty(&master, NULL, NULL, NULL);
    if (child < 0) err(99, "forkpty");
    if (!child) {
        struct termios termios;
        tcgetattr(0, &termios);
        termios.c_lflag &= ~ECHO;
        termios.c_oflag &= ~OPOST;
        tcsetattr(0, TCSANOW, &termios);
        execvp(command[0], command);
        err(99, "%s", command[0]);
    }
    struct pollfd fds[] = {{.fd = master, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    for (;;) {
        char bytes[4096];
        if (poll(fds, 2, -1) < 0) err(99, "poll");
        if (fds[0].revents) {
            ssize_t count = read(master, bytes, sizeof bytes);
            if (count <= 0) break; // EIO: nobody has the terminal open any more
            write(1, bytes, count);
        }
        if (fds[1].revents) {
            ssize_t count = read(0, bytes, sizeof bytes);
            if (count > 0) write(master, bytes, count);
            else fds[1].fd = -1;
        }
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv, char **envp) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "signals")) return signals(argv + 2);
    if (!strcmp(mode, "rest")) return rest();
    if (!strcmp(mode, "storm") && argc == 5) return storm(argv + 2);
    if (!strcmp(mode, "die") && argc == 3) return die(argv + 2);
    if (!strcmp(mode, "orphan")) return orphan();
    if (!strcmp(mode, "keeper") && argc > 3) return keeper(argv + 2);
    if (!strcmp(mode, "lastthread") && argc == 3) return lastthread(argv + 2);
    if (!strcmp(mode, "report") && argc > 2) return report(argv + 2, argv, envp);
    if (!strcmp(mode, "launch")) return launch(argv + 2, envp);
    if (!strcmp(mode, "pty") && argc > 2) return pty(argv + 2);
    errx(99, "usage: see the source");
}
