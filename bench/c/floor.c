/* The physical floor: a wrapper that only forks, execs and waits. No lock, no record, no signals. */
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    pid_t job = fork();
    if (job == 0) {
        if (argc > 1)
            execvp(argv[1], argv + 1);
        _exit(127);
    }
    int status;
    if (job < 0 || waitpid(job, &status, 0) != job)
        return 125;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
