// A slow disk for one program, by LD_PRELOAD: every fsync and fdatasync waits first, for as many milliseconds as the file says that
// SLOW_DISK_DELAY_FILE names. What it does not slow down: reads, and writes that the system keeps in memory.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void wait_for_the_disk(void) {
    const char *path = getenv("SLOW_DISK_DELAY_FILE");
    FILE *file = path ? fopen(path, "re") : NULL;
    long delay_ms = 0;
    if (!file) return;
    if (fscanf(file, "%ld", &delay_ms) != 1) delay_ms = 0;
    fclose(file);
    struct timespec delay = {delay_ms / 1000, delay_ms % 1000 * 1000000};
    nanosleep(&delay, NULL);
}

static int slowly(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    wait_for_the_disk();
    return real(file);
}

int fsync(int file) { return slowly("fsync", file); }

int fdatasync(int file) { return slowly("fdatasync", file); }
