/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A thread calls the library for the first time where memory has ended. The loader, which then makes the thread's copy
 * of the library's state, would end the process; the call is refused instead, and works when there is memory again.
 */
#include "host.h"

#include <pthread.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int main(void) {
    printf("left out: the sanitizer has the allocator\n");
    return 0;
}
#else
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static _Thread_local int dry;
static _Thread_local int refused;

/* The program's own come before the C library's, for the loader too. */
void *malloc(size_t size) {
    return dry ? (refused++, NULL) : __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    return dry ? (refused++, NULL) : __libc_calloc(count, size);
}
void *memalign(size_t alignment, size_t size) {
    return dry ? (refused++, NULL) : __libc_memalign(alignment, size);
}

static const coverslip_api *api;
static coverslip_slide slide;
static coverslip_runtime_info info;
static const uint8_t *pixels;

typedef int32_t call(void);

static int32_t submit(void) {
    const coverslip_frame frame = host_frame(pixels, info.side, 0);
    return api->slide_submit(slide, &frame, &host_error);
}
static int32_t summary(void) {
    coverslip_slide_summary out;
    COVERSLIP_INIT(out);
    return api->slide_summary(slide, &out, &host_error);
}
static int32_t interrupt(void) {
    return api->slide_interrupt(slide, &host_error);
}
static int32_t about(void) {
    coverslip_runtime_info out;
    COVERSLIP_INIT(out);
    return api->runtime_info(12345, &out, &host_error);
}

static void *first(void *body) {
    call *const *function = body;
    dry = 1;
    const int32_t code = (*function)();
    dry = 0;
    CHECK(code == COVERSLIP_OUT_OF_MEMORY && refused > 0);
    const int32_t again = (*function)();
    CHECK(again != COVERSLIP_OUT_OF_MEMORY);
    /* Now the thread has what it needs. */
    dry = 1;
    const int32_t third = (*function)();
    dry = 0;
    CHECK(third != COVERSLIP_OUT_OF_MEMORY);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    api = host_api(host_load(argv[1]));
    const coverslip_runtime runtime = host_open(api, argv[2]);
    info = host_about(api, runtime);
    pixels = host_pixels(info.side);
    slide = host_begin(api, runtime);
    call *const calls[] = {submit, summary, interrupt, about};
    for (size_t at = 0; at < sizeof calls / sizeof *calls; at++) {
        pthread_t thread;
        call *function = calls[at];
        CHECK(pthread_create(&thread, NULL, first, &function) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK_OK(api->slide_cancel(slide, &host_error));
    CHECK_OK(api->slide_end(slide, &host_error));
    host_close(api, runtime);
    return 0;
}
#endif
