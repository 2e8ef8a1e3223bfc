/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Loads, runs and unloads repeatedly: threads, open files and memory are the same after each round.
 * COVERSLIP_TEST_ROUNDS sets the number of rounds; the default is 8.
 */
#include "host.h"

#include <malloc.h>

/* Bytes allocated by malloc, which the library uses too; 0 with a sanitizer. */
static size_t allocated(void) {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

int main(int argc, char **argv) {
    enum { ROUNDS = 8, WARM = 3 };
    const char *asked = getenv("COVERSLIP_TEST_ROUNDS");
    const int rounds = asked ? atoi(asked) : ROUNDS;
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
    }
    /* Threads' caches vary; a leak grows with each round. */
    if (allocated() > warm + 256 * 1024) fprintf(stderr, "%zu bytes, after warming up %zu\n", allocated(), warm);
    CHECK(allocated() <= warm + 256 * 1024);
    return 0;
}
