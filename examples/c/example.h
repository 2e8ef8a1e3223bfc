/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * example.h — what the examples 01 to 06 share. Each function is shown in full by an example before another one
 * calls it: 01_load.c opens, 02_one_tile.c describes a slide, a frame and the buffers for results.
 *
 * A call that fails ends the example. A scanner's software goes on instead: see 07_scanner.c.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <coverslip/coverslip.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "../common/specimen.h"

/** How long an example waits for what must come. */
#define PATIENCE_MS 60000u

/** What the last call that failed said. */
static coverslip_error error = {sizeof error, 0, 0, ""};

/** Ends the example with 1 unless `condition` holds. */
#define CHECK(condition) example_check((condition) ? true : false, #condition, __FILE__, __LINE__)
/** Ends the example with 1 and the library's message unless `call` returns COVERSLIP_OK. */
#define CHECK_OK(call) CHECK((call) == COVERSLIP_OK)

static inline void example_check(bool holds, const char *what, const char *file, int line) {
    if (holds) return;
    fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, what);
    if (error.code != COVERSLIP_OK) fprintf(stderr, "the last error: %" PRId32 ", %s\n", error.code, error.message);
    exit(1);
}

/** The bundle that the command line names. */
static inline const char *example_bundle(int argc, char **argv) {
    if (argc == 2) return argv[1];
    fprintf(stderr, "usage: %s BUNDLE\n", argv[0]);
    exit(2);
}

/** The function table. */
static inline const coverslip_api *example_api(const char *name) {
    const coverslip_api *api = NULL;
    coverslip_host_info host;
    COVERSLIP_INIT(host);
    host.abi_major = COVERSLIP_ABI_MAJOR;
    host.abi_minor = COVERSLIP_ABI_MINOR;
    host.name = name;
    CHECK_OK(coverslip_get_api(&host, &api, &error));
    return api;
}

/** Opens a bundle on the CPU with at most `threads` lanes; 0: one lane per CPU. */
static inline coverslip_runtime example_open(const coverslip_api *api, const char *bundle, uint32_t threads) {
    coverslip_runtime runtime = 0;
    coverslip_runtime_desc desc;
    COVERSLIP_INIT(desc);
    desc.engine = COVERSLIP_ENGINE_CPU;
    desc.bundle_path = bundle;
    desc.max_threads = threads;
    CHECK_OK(api->runtime_open(&desc, NULL, NULL, &runtime, &error));
    return runtime;
}

/** What was opened. */
static inline coverslip_runtime_info example_info(const coverslip_api *api, coverslip_runtime runtime) {
    coverslip_runtime_info info;
    COVERSLIP_INIT(info);
    CHECK_OK(api->runtime_info(runtime, &info, &error));
    return info;
}

/** The side of a tile on the drawn slide, in the slide's pixels. */
static inline uint32_t example_tile(const coverslip_runtime_info *info) {
    return (uint32_t)lround(info->side * info->mpp / specimen_mpp);
}

/** Describes the drawn slide, scanned in frames of at most `width` x `height` pixels. */
static inline coverslip_slide_desc example_slide(uint32_t width, uint32_t height) {
    coverslip_slide_desc desc;
    COVERSLIP_INIT(desc);
    desc.scanner_id = "example-scanner";
    desc.slide_id = "example-slide";
    desc.color_state = COVERSLIP_COLOR_SRGB;
    desc.mpp_x = desc.mpp_y = specimen_mpp;
    desc.extent_width = SPECIMEN_WIDTH;
    desc.extent_height = SPECIMEN_HEIGHT;
    desc.max_frame_width = width;
    desc.max_frame_height = height;
    return desc;
}

/** Captures a frame into `pixels`, 3 * width * height bytes, and describes it. */
static inline coverslip_frame example_frame(uint8_t *pixels, int32_t x, int32_t y, uint32_t width, uint32_t height,
                                            bool refocused) {
    coverslip_frame frame;
    COVERSLIP_INIT(frame);
    frame.pixel_format = COVERSLIP_PFNC_RGB8;
    frame.plane_count = 1;
    frame.x = x;
    frame.y = y;
    frame.width = width;
    frame.height = height;
    frame.planes[0].data = pixels;
    frame.planes[0].stride = (uint64_t)3 * width;
    frame.planes[0].size = (uint64_t)3 * width * height;
    specimen_capture(x, y, width, height, refocused, pixels);
    return frame;
}

/** Room for `capacity` results without features and embeddings. */
static inline coverslip_result_batch example_batch(coverslip_result *records, uint32_t capacity) {
    coverslip_result_batch batch;
    COVERSLIP_INIT(batch);
    batch.record_size = sizeof *records;
    batch.records = records;
    batch.record_capacity = capacity;
    return batch;
}

/** The counters of a slide. At every moment each tile that was opened has its result or is in flight. */
static inline coverslip_slide_summary example_summary(const coverslip_api *api, coverslip_slide slide) {
    coverslip_slide_summary summary;
    COVERSLIP_INIT(summary);
    CHECK_OK(api->slide_summary(slide, &summary, &error));
    CHECK(summary.opened == summary.results[0] + summary.in_flight);
    return summary;
}

#endif /* EXAMPLE_H */
