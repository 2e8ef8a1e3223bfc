/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * 06 — GPU: asks for TensorRT, and falls back to the CPU by the host's own policy where there is none.
 *
 *   ENGINE_TENSORRT   TensorRT, or runtime_open fails with ENGINE_UNAVAILABLE
 *   ENGINE_AUTO       TensorRT where it works, else the CPU; runtime_info says why
 *   FALLBACK_ON_CPU   the CPU also takes over when the GPU is lost in the middle of a slide
 *
 * Where coverslip-worker lies beside the library, TensorRT runs in that process (isolation AUTO), which is started again
 * when it ends: a fault of the GPU is then none of this program's. WORKER_RESTARTED is the alert.
 *
 * Ends with 0 on a machine without a GPU too, and says what is missing there. With PLANS, a folder, the plan that takes
 * minutes to build is kept for the next time.
 *
 * Usage: 06_gpu BUNDLE [TENSORRT_LIBRARY [PLANS]]
 */
#include "example.h"

enum { CAPACITY = 64 };

static const char *reason_name(int32_t reason) {
    static const char *const names[] = {"NONE", "NOT_BUILT_IN", "NO_DRIVER", "NO_LIBRARY", "UNSUPPORTED_VERSION",
                                        "UNSUPPORTED_DEVICE", "PLAN_REFUSED", "SELF_CHECK_FAILED", "DEVICE_LOST",
                                        "OUT_OF_MEMORY", "DEFECT", "NO_WORKER", "WORKER_CRASHED", "WORKER_HUNG",
                                        "WORKER_PROTOCOL"};
    return reason >= 0 && reason < (int32_t)(sizeof names / sizeof *names) ? names[reason] : "UNKNOWN";
}

/* Opens the bundle on the engine asked for. Returns what runtime_open does. */
static int32_t open_on(const coverslip_api *api, int32_t engine, int argc, char **argv, coverslip_runtime *runtime) {
    coverslip_runtime_desc desc;
    COVERSLIP_INIT(desc);
    desc.engine = engine;
    desc.fallback = COVERSLIP_FALLBACK_ON_CPU;
    desc.precision = COVERSLIP_PRECISION_FLOAT16;
    desc.bundle_path = argv[1];
    desc.tensorrt_library = argc > 2 ? argv[2] : NULL;
    desc.plan_cache_path = argc > 3 ? argv[3] : NULL;
    /* Without a path, the loader may look for TensorRT. A scanner in the field names it. */
    if (argc <= 2) desc.flags = COVERSLIP_RUNTIME_ALLOW_LIBRARY_SEARCH;
    return api->runtime_open(&desc, NULL, NULL, runtime, &error);
}

/* TensorRT if it can be had; else the CPU. The reason comes as a number, so that a host can act on it.
 *
 * The same recovery serves a host without FALLBACK_ON_CPU whose GPU is lost while it runs: the tiles that are left end
 * as FAILED, and slide_begin says ENGINE_UNAVAILABLE until the host closes this runtime and opens another. */
static coverslip_runtime open_by_policy(const coverslip_api *api, int argc, char **argv) {
    coverslip_runtime runtime = 0;
    const int32_t code = open_on(api, COVERSLIP_ENGINE_TENSORRT, argc, argv, &runtime);
    if (code == COVERSLIP_OK) {
        const coverslip_runtime_info info = example_info(api, runtime);
        CHECK(info.engine == COVERSLIP_ENGINE_TENSORRT && info.fallback_reason == COVERSLIP_REASON_NONE);
        return runtime;
    }
    /* What is wrong with the bundle or the host's arguments is wrong on every engine. */
    CHECK(code == COVERSLIP_ENGINE_UNAVAILABLE || code == COVERSLIP_SELF_CHECK_FAILED);
    printf("TensorRT is refused, code %" PRId32 ": %s\n", code, error.message);

    CHECK_OK(open_on(api, COVERSLIP_ENGINE_AUTO, argc, argv, &runtime));
    const coverslip_runtime_info info = example_info(api, runtime);
    CHECK((info.engine == COVERSLIP_ENGINE_CPU) == (info.fallback_reason != COVERSLIP_REASON_NONE));
    printf("fallback reason %" PRId32 ", %s: %s\n", info.fallback_reason, reason_name(info.fallback_reason),
           info.fallback_message);
    printf("to use a GPU: run `coverslip doctor`, which says what to install; then 06_gpu BUNDLE TENSORRT_LIBRARY\n");
    return runtime;
}

/* The whole drawn slide as one frame. Every result says which engine made it. */
static void scan(const coverslip_api *api, coverslip_runtime runtime) {
    coverslip_slide slide = 0;
    const coverslip_slide_desc desc = example_slide(SPECIMEN_WIDTH, SPECIMEN_HEIGHT);
    CHECK_OK(api->slide_begin(runtime, &desc, &slide, &error));
    uint8_t *pixels = malloc((size_t)3 * SPECIMEN_WIDTH * SPECIMEN_HEIGHT);
    CHECK(pixels != NULL);
    const coverslip_frame frame = example_frame(pixels, 0, 0, SPECIMEN_WIDTH, SPECIMEN_HEIGHT, false);
    CHECK_OK(api->slide_submit(slide, &frame, &error));
    free(pixels);
    CHECK_OK(api->slide_finish(slide, PATIENCE_MS, &error));

    coverslip_result records[CAPACITY];
    coverslip_result_batch batch = example_batch(records, CAPACITY);
    uint64_t tiles = 0, handed_over = 0;
    uint64_t epoch = UINT64_MAX; /* The engine of the first analysed tile. */
    int32_t code;
    while ((code = api->slide_poll(slide, &batch, &error)) == COVERSLIP_OK) {
        for (uint32_t i = 0; i < batch.record_count; i++) {
            if (records[i].status != COVERSLIP_TILE_DONE) continue;
            if (epoch == UINT64_MAX) epoch = records[i].engine_epoch;
            handed_over += records[i].engine_epoch != epoch;
        }
        tiles += batch.record_count;
    }
    CHECK(code == COVERSLIP_END_OF_RESULTS);
    const coverslip_slide_summary s = example_summary(api, slide);
    CHECK(tiles == s.opened && s.results[COVERSLIP_TILE_DONE] > 0 && s.results[COVERSLIP_TILE_FAILED] == 0);
    const coverslip_runtime_info info = example_info(api, runtime);
    printf("%" PRIu64 " tiles, %" PRIu64 " analysed, in %.2f s on %s; %" PRIu64 " after a change of engine\n", tiles,
           s.results[COVERSLIP_TILE_DONE], (double)s.elapsed_ns / 1e9, info.engine_version, handed_over);
    CHECK_OK(api->slide_end(slide, &error));
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: %s BUNDLE [TENSORRT_LIBRARY [PLANS]]\n", argv[0]);
        return 2;
    }
    const coverslip_api *const api = example_api("06_gpu 1.0");
    const coverslip_runtime runtime = open_by_policy(api, argc, argv);
    const coverslip_runtime_info info = example_info(api, runtime);
    if (info.engine == COVERSLIP_ENGINE_TENSORRT) {
        static const char *const precisions[] = {"?", "float32", "float16", "bfloat16"};
        printf("%s on GPU %s, driver %s, %s, batches of up to %" PRIu32 "\n", info.engine_version, info.gpu_uuid,
               info.driver_version, precisions[info.precision & 3], info.max_batch);
        if (info.worker_process_id)
            printf("in process %" PRIu64 ", which a fault of the GPU ends alone\n", info.worker_process_id);
        else
            printf("in this process, which a fault of the GPU may end: no coverslip-worker lies beside the library\n");
    }
    scan(api, runtime);
    CHECK_OK(api->runtime_close(runtime, PATIENCE_MS, &error));
    return 0;
}
