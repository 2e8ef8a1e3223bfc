/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A limit of threads. The program stands between the library and pthread_create, and lets so many threads of the library
 * live at a time. runtime_open says that there are too few, whatever it was about to start, and leaves nothing behind;
 * slide_begin, slides and runtime_close need no more threads.
 */
#include "host.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static _Atomic int allowed, living, refused;

typedef struct start {
    void *(*run)(void *);
    void *argument;
} start;

static void *count_out(void *place) {
    start begin = *(start *)place;
    free(place);
    void *result = begin.run(begin.argument);
    living--;
    return result;
}

/* The library finds this before the C library's. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (real == NULL) {
        void *address = dlsym(RTLD_NEXT, "pthread_create");
        memcpy(&real, &address, sizeof real);
    }
    if (++living > allowed) {
        living--;
        refused++;
        return EAGAIN;
    }
    start *begin = malloc(sizeof *begin);
    *begin = (start){run, argument};
    const int code = real(thread, attributes, count_out, begin);
    if (code != 0) living--;
    return code;
}

static void wait_for_end_of(int threads) {
    for (int i = 0; i < 500 && host_threads().own + host_threads().pool > threads; i++) host_sleep_ms(10);
    CHECK(host_threads().own + host_threads().pool <= threads);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const coverslip_api *api = host_api(host_load(argv[1]));
    coverslip_runtime_desc desc;
    COVERSLIP_INIT(desc);
    desc.bundle_path = argv[2];
    desc.engine = COVERSLIP_ENGINE_CPU;
    desc.max_threads = 2;
    const int threads = host_threads().own, files = host_files();
    coverslip_runtime runtime = 0;
    int least = 0;
    for (allowed = 0;; allowed++) {
        CHECK(allowed < 1000);
        refused = 0;
        const int32_t code = api->runtime_open(&desc, NULL, NULL, &runtime, &host_error);
        if (code == COVERSLIP_OK) {
            CHECK(refused == 0);
            break;
        }
        if (code != COVERSLIP_OUT_OF_MEMORY) fprintf(stderr, "%d threads: %s\n", allowed, host_error.message);
        CHECK(code == COVERSLIP_OUT_OF_MEMORY && strstr(host_error.message, "thread") != NULL && refused > 0);
        CHECK(runtime == 0);
        host_expect_threads(threads, -1);
        CHECK(host_files() == files);
        least = allowed + 1;
    }
    CHECK(least > 3);

    /* No thread more: slides do not need one. Nor does the end, which would like to have one. */
    allowed = 0;
    for (int i = 0; i < 3; i++) host_run_slide(api, runtime);
    CHECK(refused == 0);
    host_close(api, runtime);
    host_expect_threads(threads, -1);

    /* And with enough of them all is well again. rten's thread of the lane that has checked the engine may end a moment
     * after that lane, and the others start meanwhile. */
    allowed = least + 1;
    CHECK_OK(api->runtime_open(&desc, NULL, NULL, &runtime, &host_error));
    host_run_slide(api, runtime);
    host_close(api, runtime);
    wait_for_end_of(threads + (int)sysconf(_SC_NPROCESSORS_CONF));
    return 0;
}
