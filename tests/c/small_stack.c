/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Every function is called on a thread whose stack is as small as the contract allows.
 */
#include "host.h"

#include <limits.h>
#include <pthread.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int main(void) {
    printf("left out: under a sanitizer every call takes more\n");
    return 0;
}
#else
enum { CALL = 64 << 10, OPEN = 512 << 10 };

static const coverslip_api *api;
static const char *bundle;
static coverslip_runtime runtime;
static coverslip_runtime_info info;

static void *open_runtime(void *unused) {
    runtime = host_open(api, bundle);
    info = host_about(api, runtime);
    return unused;
}

static void *scan(void *unused) {
    coverslip_slide slide = host_begin(api, runtime);
    host_scan(api, slide, info.side);
    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    host_drain(api, slide);
    coverslip_slide_summary summary;
    COVERSLIP_INIT(summary);
    CHECK_OK(api->slide_summary(slide, &summary, &host_error));
    coverslip_runtime_stats stats;
    COVERSLIP_INIT(stats);
    CHECK_OK(api->runtime_stats(runtime, &stats, &host_error));
    uint64_t needed = 0;
    CHECK(api->slide_report_json(slide, NULL, 0, &needed, NULL) == COVERSLIP_BUFFER_TOO_SMALL);
    /* Its times may take more digits the next time. */
    char *report = malloc(needed + 256);
    CHECK_OK(api->slide_report_json(slide, report, needed + 256, &needed, &host_error));
    free(report);
    CHECK_OK(api->slide_end(slide, &host_error));
    /* A mosaic is unpacked and demosaiced on the caller's thread. */
    slide = host_begin(api, runtime);
    static uint8_t packed[256 * 256 * 3];
    coverslip_frame frame;
    COVERSLIP_INIT(frame);
    frame.pixel_format = COVERSLIP_PFNC_BAYER_RG12P;
    frame.plane_count = 1;
    frame.width = frame.height = 2 * (info.side / 2);
    frame.planes[0].data = packed;
    frame.planes[0].stride = frame.width * 3 / 2;
    frame.planes[0].size = frame.planes[0].stride * frame.height;
    CHECK_OK(api->slide_submit(slide, &frame, &host_error));
    CHECK_OK(api->slide_cancel(slide, &host_error));
    CHECK_OK(api->slide_interrupt(slide, &host_error));
    CHECK_OK(api->slide_end(slide, &host_error));
    return unused;
}

static void *close_runtime(void *unused) {
    host_close(api, runtime);
    return unused;
}

static void on_a_stack(size_t size, void *function(void *)) {
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    /* What the C library takes of it, and this file. */
    CHECK(pthread_attr_setstacksize(&attributes, size + (size_t)PTHREAD_STACK_MIN) == 0);
    CHECK(pthread_create(&thread, &attributes, function, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    api = host_api(host_load(argv[1]));
    bundle = argv[2];
    on_a_stack(OPEN, open_runtime);
    on_a_stack(CALL, scan);
    on_a_stack(CALL, close_runtime);
    return 0;
}
#endif
