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
 * Without FAULT_AT nothing fails, and the file FAULT_LIST gets a line for each call: its number, its name, its file.
 *
 * Most calls are functions of the C library, in whose place this library's stand. Folders are exchanged without it, by a
 * system call of the program's own: a seccomp filter makes a signal of that, and its handler decides.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

/* What a call does. */
enum { ROOM = 1, CHANGE = 2, READ = 4 };

static atomic_long calls;
static int list = -1;
static char root[PATH_MAX];
static size_t root_length;
static long at = -1;
static enum { NONE, FULL, SEALED, ERROR, READING, KILL } kind = NONE;

static void watch_exchanges(void);

__attribute__((constructor)) static void begin(void) {
    const char *place = getenv("FAULT_ROOT"), *number = getenv("FAULT_AT"), *name = getenv("FAULT_KIND");
    if (!place || !name || strlen(place) >= sizeof root) return;
    strcpy(root, place);
    root_length = strlen(root);
    if (number) at = atol(number);
    static const char *const names[] = {"", "full", "sealed", "error", "read", "kill"};
    const char *listed = getenv("FAULT_LIST");
    if (listed && !number) list = open(listed, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    for (int i = FULL; i <= KILL; i++) {
        if (!strcmp(name, names[i])) kind = i;
    }
    if (kind != NONE && kind != READING) watch_exchanges();
}

/* Whether a path, which may be relative to the working directory, lies below the root. */
static int below(const char *path) {
    char whole[2 * PATH_MAX];
    if (kind == NONE || !path) return 0;
    if (path[0] == '/') return !strncmp(path, root, root_length);
    if (!getcwd(whole, PATH_MAX)) return 0;
    strcat(whole, "/");
    return strlen(path) < PATH_MAX && !strncmp(strcat(whole, path), root, root_length);
}

/* The path of an open file, if it lies below the root. */
static const char *open_below(int fd, char path[PATH_MAX]) {
    char link[64];
    if (kind == NONE) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return below(path) ? path : NULL;
}

#define REAL(name) (__extension__(__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Whether this call on a file below the root fails; errno says how. */
static int fails(int does, const char *name, const char *path) {
    int counts = kind == FULL ? does & ROOM : kind == READING ? does & READ : does & (ROOM | CHANGE);
    if (!counts) return 0;
    long number = atomic_fetch_add(&calls, 1);
    if (list >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %s %s\n", number, name, path);
        if (length > 0 && (size_t)length < sizeof line) (void)!REAL(write)(list, line, (size_t)length);
    }
    if (at < 0 || number < at || (number > at && kind != FULL && kind != SEALED)) return 0;
    if (kind == KILL) kill(getpid(), SIGKILL);
    errno = kind == FULL ? ENOSPC : kind == SEALED ? EROFS : EIO;
    return 1;
}

static int opens(const char *path, int flags) {
    return below(path) && (flags & (O_CREAT | O_TRUNC)) && fails(ROOM | CHANGE, "open", path);
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

/* A call on an open file. */
#define ON_FILE(kind, name, does, file, parameters, arguments)                                                             \
    kind name parameters {                                                                                                 \
        char place[PATH_MAX];                                                                                              \
        const char *path = file > 2 ? open_below(file, place) : NULL;                                                      \
        return path && fails(does, #name, path) ? -1 : REAL(name) arguments;                                               \
    }
ON_FILE(ssize_t, write, ROOM | CHANGE, fd, (int fd, const void *bytes, size_t count), (fd, bytes, count))
ON_FILE(ssize_t, writev, ROOM | CHANGE, fd, (int fd, const struct iovec *parts, int count), (fd, parts, count))
ON_FILE(ssize_t, copy_file_range, ROOM | CHANGE, out,
        (int in, off_t *from, int out, off_t *to, size_t count, unsigned flags), (in, from, out, to, count, flags))
ON_FILE(ssize_t, sendfile64, ROOM | CHANGE, out, (int out, int in, off64_t *from, size_t count), (out, in, from, count))
ON_FILE(ssize_t, read, READ, fd, (int fd, void *bytes, size_t count), (fd, bytes, count))
ON_FILE(ssize_t, pread64, READ, fd, (int fd, void *bytes, size_t count, off64_t from), (fd, bytes, count, from))
ON_FILE(int, fsync, ROOM | CHANGE, fd, (int fd), (fd))
ON_FILE(int, fdatasync, ROOM | CHANGE, fd, (int fd), (fd))
ON_FILE(int, ftruncate64, CHANGE, fd, (int fd, off64_t length), (fd, length))
ON_FILE(int, fchmod, CHANGE, fd, (int fd, mode_t mode), (fd, mode))

/* A call on a path. */
#define ON_PATH(name, does, parameters, arguments)                                                                         \
    int name parameters {                                                                                                  \
        return below(path) && fails(does, #name, path) ? -1 : REAL(name) arguments;                                        \
    }
ON_PATH(rename, CHANGE, (const char *from, const char *path), (from, path))
ON_PATH(mkdir, ROOM | CHANGE, (const char *path, mode_t mode), (path, mode))
ON_PATH(symlink, ROOM | CHANGE, (const char *target, const char *path), (target, path))
ON_PATH(unlink, CHANGE, (const char *path), (path))
ON_PATH(rmdir, CHANGE, (const char *path), (path))
ON_PATH(linkat, ROOM | CHANGE, (int from_folder, const char *from, int folder, const char *path, int flags),
        (from_folder, from, folder, path, flags))

int unlinkat(int fd, const char *path, int flags) {
    char place[PATH_MAX];
    const char *found = below(path) ? path : open_below(fd, place);
    return found && fails(CHANGE, "unlinkat", found) ? -1 : REAL(unlinkat)(fd, path, flags);
}

/* The sixth argument of the calls that the filter lets through. The kernel takes five. */
#define OURS 0x434f5645

#if defined(__x86_64__)
#define ARGUMENT(context, n) ((context)->uc_mcontext.gregs[(const int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8}[n]])
#define ANSWER(context) ((context)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define ARGUMENT(context, n) ((context)->uc_mcontext.regs[n])
#define ANSWER(context) ((context)->uc_mcontext.regs[0])
#endif

/* In place of a renameat2, which has not been made. */
static void exchange(int number, siginfo_t *info, void *place) {
    (void)number, (void)info;
    ucontext_t *context = place;
    const char *path = (const char *)ARGUMENT(context, 3);
    long found = below(path) && fails(CHANGE, "renameat2", path)
                     ? -1
                     : syscall(SYS_renameat2, ARGUMENT(context, 0), ARGUMENT(context, 1), ARGUMENT(context, 2), path,
                               ARGUMENT(context, 4), OURS);
    ANSWER(context) = found < 0 ? -errno : found;
}

/* Without a filter no exchange is listed, and the test that expects one fails. */
static void watch_exchanges(void) {
    struct sigaction action = {.sa_sigaction = exchange, .sa_flags = SA_SIGINFO | SA_NODEFER};
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OURS, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog filter = {sizeof lines / sizeof *lines, lines};
    sigaction(SIGSYS, &action, NULL);
    if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}
