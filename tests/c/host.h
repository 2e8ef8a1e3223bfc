/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * host.h — shared by the pitfall programs: a host that loads the library by path and scans a tiny slide.
 * Every program takes the paths of library and bundle, and exits with 0 if all checks hold.
 */
#ifndef HOST_H
#define HOST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <coverslip/coverslip.h>

#include <dirent.h>
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Ends the program with the condition that does not hold and, if there is one, the library's message. */
#define CHECK(condition) check((condition) ? 1 : 0, #condition, __FILE__, __LINE__, NULL)
#define CHECK_OK(call) check((call) == COVERSLIP_OK, #call, __FILE__, __LINE__, &host_error)

/* The error struct for calls inside CHECK_OK. Each thread has its own, since hosts call from several. */
static _Thread_local coverslip_error host_error = {sizeof(coverslip_error), 0, 0, ""};

static inline void check(int holds, const char *what, const char *file, int line, const coverslip_error *error) {
    if (holds) return;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    if (error != NULL) fprintf(stderr, "error %" PRId32 ": %s\n", error->code, error->message);
    exit(1);
}

/* ------------------------------------------------------------------------------------- the library -- */

static inline void *host_load(const char *path) {
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) fprintf(stderr, "%s\n", dlerror());
    CHECK(module != NULL);
    return module;
}

/* The entry point. ISO C does not allow casting the pointer; POSIX allows copying it. */
static inline coverslip_get_api_fn host_entry(void *module) {
    coverslip_get_api_fn entry = NULL;
    void *address = dlsym(module, "coverslip_get_api");
    CHECK(address != NULL);
    memcpy(&entry, &address, sizeof entry);
    return entry;
}

static inline coverslip_host_info host_info(void) {
    coverslip_host_info info;
    COVERSLIP_INIT(info);
    info.abi_major = COVERSLIP_ABI_MAJOR;
    info.abi_minor = COVERSLIP_ABI_MINOR;
    info.name = "pitfalls";
    return info;
}

static inline const coverslip_api *host_api(void *module) {
    const coverslip_host_info info = host_info();
    const coverslip_api *api = NULL;
    CHECK_OK(host_entry(module)(&info, &api, &host_error));
    CHECK(api != NULL);
    return api;
}

/* ------------------------------------------------------------------------------- runtime and slide -- */

/* Runs on the CPU, or on the TensorRT library in COVERSLIP_TEST_TENSORRT with the plans in COVERSLIP_TEST_PLANS. */
static inline coverslip_runtime host_open(const coverslip_api *api, const char *bundle) {
    const char *tensorrt = getenv("COVERSLIP_TEST_TENSORRT");
    coverslip_runtime_desc desc;
    coverslip_runtime runtime = 0;
    COVERSLIP_INIT(desc);
    desc.bundle_path = bundle;
    desc.engine = tensorrt ? COVERSLIP_ENGINE_TENSORRT : COVERSLIP_ENGINE_CPU;
    desc.tensorrt_library = tensorrt;
    desc.plan_cache_path = getenv("COVERSLIP_TEST_PLANS");
    CHECK_OK(api->runtime_open(&desc, NULL, NULL, &runtime, &host_error));
    CHECK(runtime != 0);
    return runtime;
}

static inline coverslip_runtime_info host_about(const coverslip_api *api, coverslip_runtime runtime) {
    coverslip_runtime_info info;
    COVERSLIP_INIT(info);
    CHECK_OK(api->runtime_info(runtime, &info, &host_error));
    return info;
}

/* Whether rten runs the bundle, as it runs imported graphs: it has threads of its own. A ViT's engine has none. */
static inline int host_has_rten(const coverslip_api *api, coverslip_runtime runtime) {
    const coverslip_runtime_info info = host_about(api, runtime);
    return strncmp(info.engine_version, "rten", 4) == 0;
}

enum { TILES_ACROSS = 4, TILES_DOWN = 3 };

/* A slide of TILES_ACROSS x TILES_DOWN tiles at the model's own resolution, with a frame per tile. */
static inline coverslip_slide_desc host_slide_desc(const coverslip_runtime_info *info) {
    coverslip_slide_desc desc;
    COVERSLIP_INIT(desc);
    desc.scanner_id = "scanner";
    desc.slide_id = "slide";
    desc.mpp_x = desc.mpp_y = info->mpp;
    desc.extent_width = (uint64_t)TILES_ACROSS * info->side;
    desc.extent_height = (uint64_t)TILES_DOWN * info->side;
    desc.max_frame_width = desc.max_frame_height = info->side;
    return desc;
}

static inline coverslip_slide host_begin(const coverslip_api *api, coverslip_runtime runtime) {
    const coverslip_runtime_info info = host_about(api, runtime);
    const coverslip_slide_desc desc = host_slide_desc(&info);
    coverslip_slide slide = 0;
    CHECK_OK(api->slide_begin(runtime, &desc, &slide, &host_error));
    CHECK(slide != 0);
    return slide;
}

/* Stripes of pink and purple, which are not glass. */
static inline uint8_t *host_pixels(uint32_t side) {
    uint8_t *pixels = malloc((size_t)3 * side * side);
    CHECK(pixels != NULL);
    for (uint32_t i = 0; i < side * side; i++) {
        const int purple = ((i % side) / 3 + (i / side) / 5) % 2 == 0;
        pixels[3 * i] = purple ? 94 : 226;
        pixels[3 * i + 1] = purple ? 62 : 158;
        pixels[3 * i + 2] = purple ? 138 : 190;
    }
    return pixels;
}

static inline coverslip_frame host_frame(const uint8_t *pixels, uint32_t side, uint32_t index) {
    coverslip_frame frame;
    COVERSLIP_INIT(frame);
    frame.pixel_format = COVERSLIP_PFNC_RGB8;
    frame.plane_count = 1;
    frame.x = (int64_t)(index % TILES_ACROSS) * side;
    frame.y = (int64_t)(index / TILES_ACROSS) * side;
    frame.width = frame.height = side;
    frame.planes[0].data = pixels;
    frame.planes[0].stride = (uint64_t)3 * side;
    frame.planes[0].size = (uint64_t)3 * side * side;
    frame.frame_id = index + 1;
    return frame;
}

/* Submits every frame of the slide, waiting for room. */
static inline void host_scan(const coverslip_api *api, coverslip_slide slide, uint32_t side) {
    uint8_t *pixels = host_pixels(side);
    for (uint32_t index = 0; index < TILES_ACROSS * TILES_DOWN; index++) {
        const coverslip_frame frame = host_frame(pixels, side, index);
        CHECK_OK(api->slide_submit_wait(slide, &frame, 60000, &host_error));
    }
    free(pixels);
}

/* Polls all results of a finished slide and returns their number. */
static inline uint32_t host_drain(const coverslip_api *api, coverslip_slide slide) {
    uint32_t all = 0;
    for (;;) {
        coverslip_result records[5];
        coverslip_result_batch batch;
        COVERSLIP_INIT(batch);
        batch.record_size = sizeof *records;
        batch.records = records;
        batch.record_capacity = 5;
        const int32_t code = api->slide_poll(slide, &batch, &host_error);
        if (code == COVERSLIP_END_OF_RESULTS) return all;
        CHECK_OK(code);
        all += batch.record_count;
    }
}

/* Runs a slide from begin to end and checks that every tile ends. */
static inline void host_run_slide(const coverslip_api *api, coverslip_runtime runtime) {
    const coverslip_slide slide = host_begin(api, runtime);
    coverslip_slide_summary summary;
    COVERSLIP_INIT(summary);
    host_scan(api, slide, host_about(api, runtime).side);
    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    CHECK(host_drain(api, slide) == TILES_ACROSS * TILES_DOWN);
    CHECK_OK(api->slide_summary(slide, &summary, &host_error));
    CHECK(summary.opened == TILES_ACROSS * TILES_DOWN && summary.opened == summary.results[0]);
    CHECK(summary.results[COVERSLIP_TILE_DONE] == summary.opened);
    CHECK_OK(api->slide_end(slide, &host_error));
}

static inline void host_close(const coverslip_api *api, coverslip_runtime runtime) {
    CHECK_OK(api->runtime_close(runtime, 60000, &host_error));
}

/* ------------------------------------------------------------------------------------- the process -- */

static inline void host_sleep_ms(long ms) {
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

static inline int host_entries(const char *folder) {
    int count = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) count++;
    closedir(dir);
    return count;
}

static inline int host_files(void) { return host_entries("/proc/self/fd"); }

typedef struct host_census {
    int own;  /* Threads of the host, and of the library while a runtime is open. */
    int pool; /* Threads of rten: its pool, which it makes once and keeps until the process ends, and one of each lane. */
} host_census;

static inline host_census host_threads(void) {
    host_census count = {0, 0};
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file == NULL) continue; /* No thread, or one that has just ended. */
        const int is_pool = fgets(name, sizeof name, file) != NULL && strncmp(name, "rten-", 5) == 0;
        fclose(file);
        count.pool += is_pool;
        count.own += !is_pool;
    }
    closedir(dir);
    return count;
}

/* Checks that after a runtime_close all threads are gone except rten's pool, whose size is `pool`, or -1 if it is not
 * yet known; 0 where rten runs nothing. The kernel lists a joined thread for a moment. Returns the pool's size. */
static inline int host_expect_threads(int own, int pool) {
    const int most = pool >= 0 ? pool : (int)sysconf(_SC_NPROCESSORS_CONF);
    host_census now = host_threads();
    for (int i = 0; i < 200 && (now.own != own || now.pool > most); i++) {
        host_sleep_ms(10);
        now = host_threads();
    }
    if (now.own != own) fprintf(stderr, "%d threads, expected %d\n", now.own, own);
    if (now.pool > most) fprintf(stderr, "%d threads of rten, expected %d\n", now.pool, most);
    CHECK(now.own == own && now.pool <= most);
    if (pool < 0) { /* The lanes' own pools end a little later; only then is the size known. */
        host_sleep_ms(300);
        now = host_threads();
    }
    return now.pool;
}

#endif /* HOST_H */
