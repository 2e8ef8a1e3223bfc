/*
 * A disk with faults, for a program that is started with this library in LD_PRELOAD. Calls that change what lies below
 * FAULT_ROOT are counted; the call with the number FAULT_AT fails:
 *
 *   FAULT_KIND=full   ENOSPC, as does every later call that needs room
 *   FAULT_KIND=sealed EROFS, as does every later call
 *   FAULT_KIND=error  EIO, this call only
 *   FAULT_KIND=read   EIO, this read of a file only
 *   FAULT_KIND=kill   the process ends by SIGKILL before the call
 *
 * At the end the file FAULT_COUNT gets the number of calls, unless the process was killed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* What a call does. */
enum { ROOM = 1, CHANGE = 2, READ = 4 };

static atomic_long calls;
static char root[PATH_MAX];
static size_t root_length;
static long at = -1;
static enum { NONE, FULL, SEALED, ERROR, READING, KILL } kind = NONE;

__attribute__((constructor)) static void begin(void) {
    const char *place = getenv("FAULT_ROOT"), *number = getenv("FAULT_AT"), *name = getenv("FAULT_KIND");
    if (!place || !name || strlen(place) >= sizeof root) return;
    strcpy(root, place);
    root_length = strlen(root);
    if (number) at = atol(number);
    static const char *const names[] = {"", "full", "sealed", "error", "read", "kill"};
    for (int i = FULL; i <= KILL; i++) {
        if (!strcmp(name, names[i])) kind = i;
    }
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld\n", atomic_load(&calls));
    fclose(file);
}

static int below(const char *path) {
    return kind != NONE && path && !strncmp(path, root, root_length);
}

static int open_below(int fd) {
    char link[64], path[PATH_MAX];
    if (kind == NONE) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Whether this call fails; errno says how. */
static int fails(int does) {
    int counts = kind == FULL ? does & ROOM : kind == READING ? does & READ : does & (ROOM | CHANGE);
    if (!counts) return 0;
    long number = atomic_fetch_add(&calls, 1);
    if (at < 0 || number < at || (number > at && kind != FULL && kind != SEALED)) return 0;
    if (kind == KILL) kill(getpid(), SIGKILL);
    errno = kind == FULL ? ENOSPC : kind == SEALED ? EROFS : EIO;
    return 1;
}

#define REAL(name) (__extension__(__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int opens(const char *path, int flags) {
    return below(path) && (flags & (O_CREAT | O_TRUNC)) && fails(ROOM | CHANGE);
}

#define OPEN(name)                                                                                                         \
    int name(const char *path, int flags, ...) {                                                                           \
        va_list more;                                                                                                      \
        va_start(more, flags);                                                                                             \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                            \
        va_end(more);                                                                                                      \
        return opens(path, flags) ? -1 : REAL(name)(path, flags, mode);                                                    \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *bytes, size_t count) {
    return fd > 2 && open_below(fd) && fails(ROOM | CHANGE) ? -1 : REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fd > 2 && open_below(fd) && fails(ROOM | CHANGE) ? -1 : REAL(writev)(fd, parts, count);
}

ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t count, unsigned flags) {
    if (open_below(out) && fails(ROOM | CHANGE)) return -1;
    return REAL(copy_file_range)(in, from, out, to, count, flags);
}

ssize_t sendfile64(int out, int in, off64_t *from, size_t count) {
    return open_below(out) && fails(ROOM | CHANGE) ? -1 : REAL(sendfile64)(out, in, from, count);
}

ssize_t read(int fd, void *bytes, size_t count) {
    return fd > 2 && open_below(fd) && fails(READ) ? -1 : REAL(read)(fd, bytes, count);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t from) {
    return open_below(fd) && fails(READ) ? -1 : REAL(pread64)(fd, bytes, count, from);
}

#define ON_FILE(name, does, parameters, arguments)                                                                         \
    int name parameters {                                                                                                  \
        return open_below(fd) && fails(does) ? -1 : REAL(name) arguments;                                                  \
    }
ON_FILE(fsync, ROOM | CHANGE, (int fd), (fd))
ON_FILE(fdatasync, ROOM | CHANGE, (int fd), (fd))
ON_FILE(ftruncate64, CHANGE, (int fd, off64_t length), (fd, length))
ON_FILE(fchmod, CHANGE, (int fd, mode_t mode), (fd, mode))

int rename(const char *from, const char *to) {
    return below(to) && fails(CHANGE) ? -1 : REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    return below(path) && fails(ROOM | CHANGE) ? -1 : REAL(mkdir)(path, mode);
}

int symlink(const char *target, const char *path) {
    return below(path) && fails(ROOM | CHANGE) ? -1 : REAL(symlink)(target, path);
}

int unlink(const char *path) {
    return below(path) && fails(CHANGE) ? -1 : REAL(unlink)(path);
}

int unlinkat(int fd, const char *path, int flags) {
    return (below(path) || open_below(fd)) && fails(CHANGE) ? -1 : REAL(unlinkat)(fd, path, flags);
}

int rmdir(const char *path) {
    return below(path) && fails(CHANGE) ? -1 : REAL(rmdir)(path);
}
