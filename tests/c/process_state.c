/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The library leaves the host's state alone: floating-point mode, locale, signal handlers and masks, working directory,
 * environment, priority and CPUs of its threads. Snapshots are taken before the library is loaded, while it works, and
 * afterwards.
 */
#include "host.h"

#include <fenv.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

extern char **environ;

typedef struct snapshot {
    unsigned mxcsr; /* Rounding, flush-to-zero, denormals-are-zero and the masks; not the sticky flags. */
    int rounding;
    char locale[64], decimal[8], folder[512];
    void (*handlers[65])(int);
    int handler_flags[65];
    sigset_t blocked;
    stack_t signal_stack;
    cpu_set_t cpus;
    int priority, policy, variables;
    mode_t umask;
    struct rlimit stack, files, core;
} snapshot;

static snapshot take(void) {
    snapshot s;
    memset(&s, 0, sizeof s);
#if defined(__x86_64__)
    s.mxcsr = _mm_getcsr() & ~0x3Fu;
#endif
    s.rounding = fegetround();
    snprintf(s.locale, sizeof s.locale, "%s", setlocale(LC_ALL, NULL));
    snprintf(s.decimal, sizeof s.decimal, "%s", localeconv()->decimal_point);
    CHECK(getcwd(s.folder, sizeof s.folder) != NULL);
    for (int number = 1; number <= 64; number++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        if (sigaction(number, NULL, &action) != 0) continue; /* The C library reserves two signals. */
        s.handlers[number] = action.sa_handler;
        s.handler_flags[number] = action.sa_flags;
    }
    sigprocmask(SIG_SETMASK, NULL, &s.blocked);
    sigaltstack(NULL, &s.signal_stack);
    sched_getaffinity(0, sizeof s.cpus, &s.cpus);
    s.priority = getpriority(PRIO_PROCESS, 0); /* On Linux this is the thread's priority. */
    s.policy = sched_getscheduler(0);
    for (char **variable = environ; *variable != NULL; variable++) s.variables++;
    s.umask = umask(0);
    umask(s.umask);
    getrlimit(RLIMIT_STACK, &s.stack);
    getrlimit(RLIMIT_NOFILE, &s.files);
    getrlimit(RLIMIT_CORE, &s.core);
    return s;
}

static void expect_same(const snapshot *before) {
    const snapshot now = take();
    CHECK(now.mxcsr == before->mxcsr);
    CHECK(now.rounding == before->rounding);
    CHECK(strcmp(now.locale, before->locale) == 0 && strcmp(now.decimal, before->decimal) == 0);
    CHECK(strcmp(now.folder, before->folder) == 0);
    for (int number = 1; number <= 64; number++) {
        CHECK(now.handlers[number] == before->handlers[number]);
        CHECK(now.handler_flags[number] == before->handler_flags[number]);
    }
    CHECK(memcmp(&now.blocked, &before->blocked, sizeof now.blocked) == 0);
    CHECK(now.signal_stack.ss_sp == before->signal_stack.ss_sp);
    CHECK(now.signal_stack.ss_flags == before->signal_stack.ss_flags);
    CHECK(CPU_EQUAL(&now.cpus, &before->cpus));
    CHECK(now.priority == before->priority && now.policy == before->policy);
    CHECK(now.variables == before->variables);
    CHECK(now.umask == before->umask);
    CHECK(memcmp(&now.stack, &before->stack, sizeof now.stack) == 0);
    CHECK(memcmp(&now.files, &before->files, sizeof now.files) == 0);
    CHECK(memcmp(&now.core, &before->core, sizeof now.core) == 0);
}

/* Sets non-default values, so that changes show. The library's results must not depend on them. */
static void be_unusual(void) {
    fesetround(FE_DOWNWARD);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040); /* Flush to zero, denormals are zero. */
#endif
    signal(SIGPIPE, SIG_DFL);
    signal(SIGUSR1, SIG_IGN);
    umask(027);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    for (int round = 0; round < 2; round++) {
        const snapshot before = take();
        void *module = host_load(argv[1]);
        expect_same(&before);
        const coverslip_api *api = host_api(module);
        expect_same(&before);
        const coverslip_runtime runtime = host_open(api, argv[2]);
        expect_same(&before);
        host_run_slide(api, runtime);
        expect_same(&before);
        host_close(api, runtime);
        dlclose(module);
        expect_same(&before);
        be_unusual();
    }
    return 0;
}
