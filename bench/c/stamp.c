/* A job that says when it began and when it ended: stamp FILE SLOT MILLISECONDS
 * Two times, in nanoseconds of the monotonic clock, in slot number SLOT of FILE. It takes the first
 * before anything else, and stores the second as its last act: the file is mapped, so nothing but its
 * exit lies behind that. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    uint64_t began = now();
    if (argc != 4)
        return 64;
    size_t slot = strtoul(argv[2], 0, 10), length = (slot + 1) * 2 * sizeof began;
    int fd = open(argv[1], O_RDWR);
    if (fd < 0)
        return 1;
    volatile uint64_t *slots = mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (slots == MAP_FAILED)
        return 1;
    slots[2 * slot] = began;
    struct timespec pause = {0, atol(argv[3]) * 1000000};
    nanosleep(&pause, 0);
    slots[2 * slot + 1] = now();
    _exit(0);
}
