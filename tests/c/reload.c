/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Loads, runs and unloads repeatedly: threads, open files and memory are the same after each round.
 * COVERSLIP_TEST_ROUNDS sets the number of rounds, 8 by default. COVERSLIP_TEST_SECONDS ends them after that time, and
 * prints how many there were.
 */
#include "host.h"

#include <malloc.h>

/* Bytes allocated by malloc, which the library uses too; 0 with a sanitizer. */
static size_t allocated(void) {
#if __GLIBC_PREREQ(2, 33)
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    /* Counts in int: good for what a leak adds, not for gigabytes. */
    const struct mallinfo info = mallinfo();
    return (size_t)(unsigned)info.uordblks + (unsigned)info.hblkhd;
#endif
}

int main(int argc, char **argv) {
    enum { ROUNDS = 8, WARM = 3 };
    const char *asked = getenv("COVERSLIP_TEST_ROUNDS");
    const int rounds = asked ? atoi(asked) : ROUNDS;
    const char *limit = getenv("COVERSLIP_TEST_SECONDS");
    const time_t start = time(NULL);
    int done = 0;
    size_t warm = 0;
    const int threads = host_threads().own, files = host_files();
    int pool = -1;
    CHECK(argc == 3);
    for (int round = 0; round < rounds; round++) {
        void *module = host_load(argv[1]);
        const coverslip_api *api = host_api(module);
        const coverslip_runtime runtime = host_open(api, argv[2]);
        host_run_slide(api, runtime);
        host_run_slide(api, runtime);
        host_close(api, runtime);
        CHECK(dlclose(module) == 0);
        pool = host_expect_threads(threads, pool);
        CHECK(host_files() == files);
        if (round == WARM) warm = allocated();
        done++;
        if (limit && time(NULL) - start >= atoi(limit)) break;
    }
    if (limit) printf("%d of %d rounds in %ld s, %zu bytes allocated, %zu after warming up\n", done, rounds,
                      (long)(time(NULL) - start), allocated(), warm);
    /* What threads keep in their caches comes and goes; what leaks grows by the round. */
    if (limit && done <= WARM) return 0;
    if (allocated() > warm + 256 * 1024) fprintf(stderr, "%zu bytes, after warming up %zu\n", allocated(), warm);
    CHECK(allocated() <= warm + 256 * 1024);
    return 0;
}
