/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * planted.c — a host that breaks the contract in fourteen ways, for `coverslip validate host`. Each function is one fault,
 * named as the validator names it.
 */
#define _GNU_SOURCE
#include <coverslip/coverslip.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define SIDE 448
static const coverslip_api *api;
static coverslip_runtime runtime;
static uint8_t pixels[3 * SIDE * SIDE];
static _Thread_local coverslip_error error = {sizeof(coverslip_error), 0, 0, ""};

static void need(int32_t code, const char *what) {
    if (code == COVERSLIP_OK) return;
    fprintf(stderr, "planted: %s: %s\n", what, error.message);
    exit(2);
}

/* log-calls-library */
static void on_log(void *user, int32_t level, const char *message) {
    static atomic_flag once = ATOMIC_FLAG_INIT;
    (void)user, (void)level, (void)message;
    if (api != NULL && !atomic_flag_test_and_set(&once)) api->runtime_stats(0, NULL, NULL);
}

/* control-in-callback */
static int32_t on_progress(void *user, const coverslip_progress *progress) {
    static atomic_flag once = ATOMIC_FLAG_INIT;
    (void)user, (void)progress;
    if (!atomic_flag_test_and_set(&once)) api->slide_end(0, NULL);
    return 0;
}

static coverslip_slide_desc describe(void) {
    coverslip_slide_desc desc;
    COVERSLIP_INIT(desc);
    desc.scanner_id = "planted";
    desc.slide_id = "planted";
    desc.mpp_x = desc.mpp_y = 0.5;
    desc.extent_width = 64 * SIDE;
    desc.extent_height = SIDE;
    desc.max_frame_width = desc.max_frame_height = SIDE;
    return desc;
}

static coverslip_slide begin(void) {
    coverslip_slide slide = 0;
    coverslip_slide_desc desc = describe();
    need(api->slide_begin(runtime, &desc, &slide, &error), "slide_begin");
    return slide;
}

static coverslip_frame frame_at(int64_t x) {
    coverslip_frame frame;
    COVERSLIP_INIT(frame);
    frame.pixel_format = COVERSLIP_PFNC_RGB8;
    frame.plane_count = 1;
    frame.x = x;
    frame.width = frame.height = SIDE;
    frame.planes[0].data = pixels;
    frame.planes[0].stride = 3 * SIDE;
    frame.planes[0].size = sizeof pixels;
    return frame;
}

static void struct_size(void) {
    coverslip_slide slide = 0;
    coverslip_slide_desc desc = describe();
    desc.struct_size = 20;
    api->slide_begin(runtime, &desc, &slide, &error);
}

static coverslip_result_batch batch_of(coverslip_result *records, uint32_t capacity) {
    coverslip_result_batch batch;
    COVERSLIP_INIT(batch);
    batch.record_size = sizeof *records;
    batch.records = records;
    batch.record_capacity = capacity;
    return batch;
}

static void record_size(coverslip_slide slide, coverslip_result *records) {
    coverslip_result_batch batch = batch_of(records, 4);
    batch.record_size = 100;
    api->slide_poll(slide, &batch, &error);
}

static void buffers_overlap(coverslip_slide slide, coverslip_result *records) {
    coverslip_result_batch batch = batch_of(records, 4);
    batch.features = (coverslip_feature *)(records + 2);
    batch.feature_capacity = 8;
    api->slide_poll(slide, &batch, &error);
}

static void frames(coverslip_slide slide) {
    coverslip_frame frame = frame_at(0);
    frame.width = SIDE + 1; /* frame-too-large */
    frame.planes[0].stride = 3 * (SIDE + 1);
    frame.height = SIDE - 2;
    api->slide_submit(slide, &frame, &error);
    frame = frame_at(65 * SIDE); /* frame-outside */
    api->slide_submit(slide, &frame, &error);
    frame = frame_at(0);
    frame.planes[0].size = (uint64_t)1 << 45; /* frame-memory */
    api->slide_submit(slide, &frame, &error);
    frame = frame_at(0);
    frame.pass = 70000; /* argument */
    api->slide_submit(slide, &frame, &error);
    frame = frame_at(0);
    frame.bit_depth = 12; /* format */
    api->slide_submit(slide, &frame, &error);
}

static atomic_bool over;

static void *write_pixels(void *unused) {
    volatile uint8_t *last = &pixels[sizeof pixels - 1];
    while (!atomic_load(&over)) ++*last;
    return unused;
}

/* frame-changed */
static void change(coverslip_slide slide) {
    pthread_t writer;
    atomic_store(&over, false);
    pthread_create(&writer, NULL, write_pixels, NULL);
    for (int i = 0; i < 20; i++) {
        coverslip_frame frame = frame_at(SIDE);
        api->slide_submit(slide, &frame, &error);
    }
    atomic_store(&over, true);
    pthread_join(writer, NULL);
}

static void *submit_many(void *slide) {
    for (int i = 0; i < 40; i++) {
        coverslip_frame frame = frame_at(2 * SIDE);
        api->slide_submit(*(coverslip_slide *)slide, &frame, &error);
    }
    return NULL;
}

/* one-submit-thread */
static void two_threads(coverslip_slide slide) {
    pthread_t other;
    pthread_create(&other, NULL, submit_many, &slide);
    submit_many(&slide);
    pthread_join(other, NULL);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    static coverslip_result records[8];
    coverslip_host_info host;
    COVERSLIP_INIT(host);
    host.abi_major = COVERSLIP_ABI_MAJOR;
    host.abi_minor = COVERSLIP_ABI_MINOR;
    host.log = on_log;
    need(coverslip_get_api(&host, &api, &error), "coverslip_get_api");
    coverslip_runtime_desc desc;
    COVERSLIP_INIT(desc);
    desc.engine = COVERSLIP_ENGINE_AUTO; /* the fallback is logged */
    desc.bundle_path = argv[1];
    need(api->runtime_open(&desc, on_progress, NULL, &runtime, &error), "runtime_open");

    struct_size();
    coverslip_slide slide = begin();
    record_size(slide, records);
    buffers_overlap(slide, records);
    frames(slide);
    change(slide);
    two_threads(slide);
    need(api->slide_finish(slide, 60000, &error), "slide_finish");
    coverslip_frame late = frame_at(0);
    api->slide_submit(slide, &late, &error); /* after-finish */
    need(api->slide_end(slide, &error), "slide_end"); /* results-dropped */
    coverslip_slide_summary summary;
    COVERSLIP_INIT(summary);
    api->slide_summary(slide, &summary, &error); /* stale-handle */
    return 0; /* not-closed */
}
