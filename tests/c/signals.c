/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Signals: every thread of the library and of its engine blocks all signals but those of its own faults; a host that
 * takes a signal by signalfd, and blocks it only after the runtime is open, gets it; the host's masks stay as they are.
 */
#include "host.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

static uint64_t bit(int signal) { return (uint64_t)1 << (signal - 1); }

/* Checks the masks of all threads but this one; returns their number. */
static int expect_quiet(void) {
    /* Two cannot be blocked, and the C library keeps two for itself. */
    const uint64_t never = bit(SIGKILL) | bit(SIGSTOP) | bit(32) | bit(33);
    const uint64_t faults = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGSYS);
    int threads = 0;
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[300], line[200], name[64] = "";
        uint64_t blocked = 0;
        if (entry->d_name[0] == '.' || atol(entry->d_name) == syscall(SYS_gettid)) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) continue;
        while (fgets(line, sizeof line, file) != NULL) {
            sscanf(line, "Name: %63s", name);
            if (sscanf(line, "SigBlk: %" SCNx64, &blocked) == 1) threads++;
        }
        fclose(file);
        if ((blocked | never) != ~faults) fprintf(stderr, "%s blocks %016" PRIx64 "\n", name, blocked);
        CHECK((blocked | never) == ~faults);
    }
    closedir(dir);
    return threads;
}

static sigset_t mask(void) {
    sigset_t set;
    memset(&set, 0, sizeof set); /* The kernel fills a part of it. */
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
    return set;
}

static int32_t COVERSLIP_CALL progress(void *user, const coverslip_progress *state) {
    (void)state;
    const sigset_t now = mask();
    CHECK(memcmp(&now, user, sizeof now) == 0);
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const coverslip_api *api = host_api(host_load(argv[1]));
    /* The host has blocked a fault itself: the library's threads have it open all the same. */
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGFPE);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    before = mask();

    coverslip_runtime_desc desc;
    coverslip_runtime runtime = 0;
    COVERSLIP_INIT(desc);
    desc.bundle_path = argv[2];
    desc.engine = COVERSLIP_ENGINE_CPU;
    desc.max_threads = 2;
    CHECK_OK(api->runtime_open(&desc, progress, &before, &runtime, &host_error));
    sigset_t now = mask();
    CHECK(memcmp(&now, &before, sizeof now) == 0);
    CHECK(expect_quiet() >= 4);
    /* rten's pool, and a thread of each of the two lanes. */
    CHECK(host_has_rten(api, runtime) ? host_threads().pool > 2 : host_threads().pool == 0);

    /* Only now does the host block its signal. */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    before = mask();
    const int descriptor = signalfd(-1, &set, 0);
    CHECK(descriptor >= 0);
    const coverslip_slide slide = host_begin(api, runtime);
    for (int i = 0; i < 20; i++) {
        struct signalfd_siginfo seen;
        CHECK(kill(getpid(), SIGUSR2) == 0);
        CHECK(read(descriptor, &seen, sizeof seen) == (ssize_t)sizeof seen && seen.ssi_signo == SIGUSR2);
        if (i == 10) host_scan(api, slide, host_about(api, runtime).side);
    }
    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    CHECK(expect_quiet() >= 4);
    CHECK_OK(api->slide_end(slide, &host_error));
    host_close(api, runtime);
    now = mask();
    CHECK(memcmp(&now, &before, sizeof now) == 0);
    return 0;
}
