/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Hosts with older and newer headers, whose structs are shorter or longer than the library's. Each struct is at the end
 * of a page before a protected page, so that an access beyond it ends the program.
 */
#include "host.h"

static const coverslip_api *api;
static coverslip_runtime runtime;

/* `size` bytes directly before a protected page, all 0xA5, the canary for untouched bytes. */
static void *at_the_edge(size_t size) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (size + page - 1) / page * page;
    uint8_t *memory = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED && mprotect(memory + room, page, PROT_NONE) == 0);
    memset(memory, 0xA5, room);
    return memory + room - size; /* Never freed; it is only a few pages. */
}

/* The first `size` bytes of a struct at the edge, with that size stated, and padded with zeros if it is longer. */
static void *cut(const void *whole, size_t whole_size, size_t size) {
    void *place = at_the_edge((size + 7) / 8 * 8); /* Aligned as by the compiler. */
    const uint32_t stated = (uint32_t)size;
    memset(place, 0, size);
    memcpy(place, whole, size < whole_size ? size : whole_size);
    memcpy(place, &stated, sizeof stated);
    return place;
}
#define CUT(value, size) cut(&(value), sizeof(value), (size))

static int is_canary(const void *place, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (((const uint8_t *)place)[i] != 0xA5) return 0;
    }
    return 1;
}

/* ------------------------------------------------------------------------------------------ inputs -- */

static void inputs(const char *bundle) {
    coverslip_runtime_desc open;
    COVERSLIP_INIT(open);
    open.bundle_path = bundle;
    coverslip_runtime opened = 0;

    /* The shortest struct: everything after the path has its default. */
    const size_t up_to_path = offsetof(coverslip_runtime_desc, profile_path);
    CHECK_OK(api->runtime_open(CUT(open, up_to_path), NULL, NULL, &opened, &host_error));
    host_close(api, opened);
    /* Missing members count as zero, so a shorter desc has no path. */
    CHECK(api->runtime_open(CUT(open, 8), NULL, NULL, &opened, NULL) == COVERSLIP_INVALID_ARGUMENT);

    /* A longer struct with zeros at the end is a newer host that uses nothing new. */
    const size_t longer = sizeof open + 24;
    CHECK_OK(api->runtime_open(CUT(open, longer), NULL, NULL, &opened, &host_error));
    host_close(api, opened);
    /* Any nonzero byte there is a request that this library cannot know. */
    for (size_t i = sizeof open; i < longer; i++) {
        uint8_t *newer = CUT(open, longer);
        newer[i] = 1;
        opened = 77;
        CHECK(api->runtime_open((void *)newer, NULL, NULL, &opened, &host_error) == COVERSLIP_INVALID_STRUCT);
        CHECK(opened == 77 && host_error.message[0] != '\0');
    }
    /* So is a nonzero reserved member. */
    open.reserved = 1;
    CHECK(api->runtime_open(&open, NULL, NULL, &opened, NULL) != COVERSLIP_OK);

    /* A size that ends inside a field: half a pointer is refused before anything is read through it. */
    coverslip_runtime_desc pointers = open;
    pointers.profile_path = pointers.plan_cache_path = pointers.tensorrt_library = bundle;
    pointers.worker_path = pointers.cpu_tuning_path = bundle;
    for (size_t size = 9; size < sizeof pointers; size++) {
        const int in_a_path = size > offsetof(coverslip_runtime_desc, bundle_path) &&
                              size < offsetof(coverslip_runtime_desc, cpu_count) && size % 8 != 0;
        if (size % 4 == 0 && !in_a_path) continue;
        opened = 77;
        const int32_t code = api->runtime_open(CUT(pointers, size), NULL, NULL, &opened, &host_error);
        CHECK(code == COVERSLIP_INVALID_STRUCT && opened == 77);
        CHECK(strstr(host_error.message, "inside `") != NULL);
    }

    /* Sizes that are none. */
    coverslip_slide_desc desc;
    const coverslip_runtime_info info = host_about(api, runtime);
    const uint32_t impossible[] = {0, 1, 4, 7, 0x7FFFFFFF, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        coverslip_slide slide = 0;
        desc = host_slide_desc(&info);
        desc.struct_size = impossible[i];
        CHECK(api->slide_begin(runtime, &desc, &slide, NULL) == COVERSLIP_INVALID_STRUCT && slide == 0);
    }

    /* A slide and a frame of an older host. A frame may end after its only plane. */
    coverslip_slide slide = 0;
    desc = host_slide_desc(&info);
    const size_t old_desc = offsetof(coverslip_slide_desc, spread_width);
    CHECK_OK(api->slide_begin(runtime, CUT(desc, old_desc), &slide, &host_error));
    uint8_t *pixels = host_pixels(info.side);
    const coverslip_frame frame = host_frame(pixels, info.side, 0);
    const size_t one_plane = offsetof(coverslip_frame, planes) + sizeof(coverslip_plane);
    CHECK_OK(api->slide_submit(slide, CUT(frame, one_plane), &host_error));
    const coverslip_frame next = host_frame(pixels, info.side, 1);
    uint8_t *newer = CUT(next, sizeof next + 8);
    newer[sizeof next] = 1;
    CHECK(api->slide_submit(slide, (void *)newer, NULL) == COVERSLIP_INVALID_STRUCT);
    CHECK_OK(api->slide_submit(slide, CUT(next, sizeof next + 8), &host_error));
    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    CHECK(host_drain(api, slide) == 2);
    CHECK_OK(api->slide_end(slide, &host_error));
    free(pixels);
}

/* Pixels, too, are read only up to their stated size. */
static void pixels_at_the_edge(void) {
    const coverslip_runtime_info info = host_about(api, runtime);
    const coverslip_slide slide = host_begin(api, runtime);
    const size_t bytes = (size_t)3 * info.side * info.side;
    uint8_t *pixels = at_the_edge(bytes);
    coverslip_frame frame = host_frame(pixels, info.side, 0);
    CHECK_OK(api->slide_submit(slide, &frame, &host_error));
    frame = host_frame(pixels, info.side, 1);
    frame.planes[0].size = bytes - 1;
    CHECK(api->slide_submit(slide, &frame, NULL) == COVERSLIP_INVALID_ARGUMENT);
    frame = host_frame(pixels, info.side, 2);
    frame.planes[0].stride = (uint64_t)3 * info.side - 1;
    CHECK(api->slide_submit(slide, &frame, NULL) == COVERSLIP_INVALID_ARGUMENT);
    frame.planes[0].stride = UINT64_MAX / 2;
    CHECK(api->slide_submit(slide, &frame, NULL) == COVERSLIP_INVALID_ARGUMENT);
    CHECK_OK(api->slide_end(slide, &host_error));
}

/* ----------------------------------------------------------------------------------------- outputs -- */

static void *output(size_t size) {
    void *place = at_the_edge((size + 7) / 8 * 8);
    const uint32_t stated = (uint32_t)size;
    memcpy(place, &stated, sizeof stated);
    return place;
}

static void outputs(void) {
    const coverslip_runtime_info whole = host_about(api, runtime);
    /* Shorter: whole fields are written, the rest is not touched, the size stays the host's. A size inside a field
     * gets nothing. */
    int written = 0;
    for (size_t size = 8; size <= sizeof whole; size++) {
        coverslip_runtime_info *out = output(size);
        const int32_t code = api->runtime_info(runtime, out, &host_error);
        CHECK(out->struct_size == size);
        CHECK(is_canary(out, size, (size + 7) / 8 * 8));
        if (code == COVERSLIP_OK) {
            CHECK(memcmp((uint8_t *)out + 4, (const uint8_t *)&whole + 4, size - 4) == 0);
            written++;
        } else {
            CHECK(code == COVERSLIP_INVALID_STRUCT && is_canary(out, 4, size));
        }
    }
    CHECK(written == 33); /* 34 fields; struct_size alone is too short. */
    /* Longer: the library knows no more than it knows. */
    coverslip_runtime_info *newer = output(sizeof whole + 64);
    CHECK_OK(api->runtime_info(runtime, newer, &host_error));
    CHECK(newer->struct_size == sizeof whole + 64 && newer->side == whole.side);

    coverslip_runtime_stats *stats = output(offsetof(coverslip_runtime_stats, results));
    CHECK_OK(api->runtime_stats(runtime, stats, &host_error));
    coverslip_feature_info *feature = output(offsetof(coverslip_feature_info, label));
    CHECK_OK(api->feature_info(runtime, 1, feature, &host_error));
    CHECK(feature->index == 1);

    /* On an error nothing is written. */
    coverslip_feature_info *untouched = output(sizeof *untouched);
    CHECK(api->feature_info(runtime, UINT32_MAX, untouched, NULL) == COVERSLIP_INVALID_ARGUMENT);
    CHECK(is_canary(untouched, 4, sizeof *untouched));
    const uint32_t impossible[] = {0, 4, 7, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        untouched->struct_size = impossible[i];
        CHECK(api->feature_info(runtime, 1, untouched, NULL) == COVERSLIP_INVALID_STRUCT);
        CHECK(is_canary(untouched, 4, sizeof *untouched));
    }
}

static void errors(void) {
    coverslip_runtime_info info;
    COVERSLIP_INIT(info);
    /* All sizes from the code only to the whole message, which always ends inside the struct. */
    for (size_t size = 8; size <= sizeof(coverslip_error) + 8; size += 8) {
        coverslip_error *error = output(size);
        CHECK(api->runtime_info(0, &info, error) == COVERSLIP_INVALID_HANDLE);
        CHECK(error->struct_size == size && error->code == COVERSLIP_INVALID_HANDLE);
        if (size > offsetof(coverslip_error, message)) {
            const size_t room = size - offsetof(coverslip_error, message);
            CHECK(memchr(error->message, 0, room < 512 ? room : 512) != NULL);
        }
    }
    /* An uninitialised struct is not touched, and the code is returned anyway. */
    const uint32_t impossible[] = {0, 4, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        coverslip_error *error = output(sizeof *error);
        error->struct_size = impossible[i];
        CHECK(api->runtime_info(0, &info, error) == COVERSLIP_INVALID_HANDLE);
        CHECK(is_canary(error, 4, sizeof *error));
    }
    /* Success writes no error. */
    coverslip_error *error = output(sizeof *error);
    CHECK(api->runtime_info(runtime, &info, error) == COVERSLIP_OK && is_canary(error, 4, sizeof *error));
}

/* ----------------------------------------------------------------------------------------- batches -- */

static coverslip_slide finished_slide(void) {
    const coverslip_slide slide = host_begin(api, runtime);
    host_scan(api, slide, host_about(api, runtime).side);
    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    return slide;
}

static void batches(void) {
    enum { NEWER = sizeof(coverslip_result) + 32, CAPACITY = 3 };
    enum { OLDER = offsetof(coverslip_result, channels_missing) }; /* The record of 1.0. */
    const coverslip_runtime_info info = host_about(api, runtime);
    const coverslip_slide slide = finished_slide();
    coverslip_result_batch batch;

    /* Records of a newer host are larger; the library does not touch members that it does not know. */
    uint8_t *records = at_the_edge((size_t)CAPACITY * NEWER);
    COVERSLIP_INIT(batch);
    batch.record_size = NEWER;
    batch.records = (coverslip_result *)(void *)records;
    batch.record_capacity = CAPACITY;
    CHECK_OK(api->slide_poll(slide, &batch, &host_error));
    CHECK(batch.record_count == CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        const coverslip_result *record = (void *)(records + (size_t)i * NEWER);
        CHECK(record->sequence == i && record->status == COVERSLIP_TILE_DONE && record->feature_count == 0);
        CHECK(is_canary(record, sizeof *record, NEWER));
    }

    /* With room for one record's features, as many results as fit are returned and none is lost. */
    const uint32_t k = info.features_per_tile;
    coverslip_feature *features = at_the_edge((size_t)k * sizeof *features);
    coverslip_result *exact = at_the_edge(CAPACITY * sizeof *exact);
    COVERSLIP_INIT(batch);
    batch.record_size = sizeof *exact;
    batch.records = exact;
    batch.features = features;
    batch.record_capacity = CAPACITY;
    batch.feature_capacity = k;
    CHECK_OK(api->slide_poll(slide, &batch, &host_error));
    CHECK(batch.record_count >= 1 && batch.feature_count <= k && exact[0].sequence == CAPACITY);
    CHECK(exact[0].feature_offset == 0 && exact[0].feature_count > 0);
    CHECK(exact[0].active_count >= exact[0].feature_count);
    for (uint32_t i = 0; i < exact[0].feature_count; i++) {
        CHECK(features[i].index < info.feature_count && features[i].value > 0.0f);
        CHECK(i == 0 || features[i].value <= features[i - 1].value);
    }
    CHECK(is_canary(exact + batch.record_count, 0, (CAPACITY - batch.record_count) * sizeof *exact));

    /* A buffer too small for one result is an error; nothing is lost or written. */
    uint64_t next = CAPACITY + batch.record_count;
    memset(exact, 0xA5, CAPACITY * sizeof *exact);
    batch.feature_capacity = 1;
    batch.record_count = 55;
    const int32_t code = api->slide_poll(slide, &batch, &host_error);
    if (code == COVERSLIP_OK) { /* A tile with a single feature would fit. */
        next += batch.record_count;
    } else {
        CHECK(code == COVERSLIP_BUFFER_TOO_SMALL && batch.record_count == 55);
        CHECK(is_canary(exact, 0, CAPACITY * sizeof *exact));
    }
    /* No room for records at all. */
    batch.record_capacity = 0;
    CHECK(api->slide_poll(slide, &batch, NULL) == COVERSLIP_BUFFER_TOO_SMALL);

    /* Missing buffers, records of an impossible size, and a batch of a newer host that requests more. */
    batch.record_capacity = CAPACITY;
    batch.records = NULL;
    CHECK(api->slide_poll(slide, &batch, NULL) == COVERSLIP_INVALID_ARGUMENT);
    batch.records = exact;
    batch.features = NULL;
    batch.feature_capacity = k;
    CHECK(api->slide_poll(slide, &batch, NULL) == COVERSLIP_INVALID_ARGUMENT);
    batch.feature_capacity = 0;
    batch.record_size = 0;
    CHECK(api->slide_poll(slide, &batch, NULL) == COVERSLIP_INVALID_STRUCT);
    const uint32_t none[] = {1, 8, OLDER - 8, OLDER + 4, sizeof *exact - 1, sizeof *exact + 4, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        batch.record_size = none[i];
        CHECK(api->slide_poll(slide, &batch, NULL) == COVERSLIP_INVALID_STRUCT);
    }
    batch.record_size = sizeof *exact;
    uint8_t *newer = CUT(batch, sizeof batch + 8);
    newer[sizeof batch + 3] = 1;
    CHECK(api->slide_poll(slide, (void *)newer, NULL) == COVERSLIP_INVALID_STRUCT);

    /* After these refusals the next result is still the first one. */
    CHECK_OK(api->slide_poll(slide, &batch, &host_error));
    CHECK(exact[0].sequence == next && batch.feature_count == 0 && exact[0].feature_count == 0);
    next += batch.record_count;

    /* Records of a host of 1.0: cut where its own end. */
    uint8_t *older = at_the_edge((size_t)2 * OLDER);
    batch.record_size = OLDER;
    batch.records = (coverslip_result *)(void *)older;
    batch.record_capacity = 2;
    CHECK_OK(api->slide_poll(slide, &batch, &host_error));
    CHECK(batch.record_count == 2);
    for (uint32_t i = 0; i < 2; i++) {
        const coverslip_result *record = (void *)(older + (size_t)i * OLDER);
        CHECK(record->sequence == next + i && record->status == COVERSLIP_TILE_DONE && record->coverage == 1.0f);
    }
    next += 2;
    next += host_drain(api, slide);
    CHECK(next == TILES_ACROSS * TILES_DOWN);
    /* At the end of results the counts are written although the code is not OK. */
    batch.record_count = 55;
    CHECK(api->slide_poll(slide, &batch, NULL) == COVERSLIP_END_OF_RESULTS && batch.record_count == 0);

    /* A summary of an older host. */
    coverslip_slide_summary *summary = output(offsetof(coverslip_slide_summary, unpolled));
    CHECK_OK(api->slide_summary(slide, summary, &host_error));
    CHECK(summary->opened == TILES_ACROSS * TILES_DOWN && summary->results[0] == summary->opened);

    /* Alerts: without alerts, no room is not an error, and neither is a null buffer. */
    coverslip_alert_batch alerts;
    COVERSLIP_INIT(alerts);
    alerts.record_size = sizeof(coverslip_alert);
    CHECK_OK(api->slide_alerts(slide, &alerts, &host_error));
    CHECK(alerts.record_count == 0);
    CHECK_OK(api->slide_end(slide, &host_error));
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    void *module = host_load(argv[1]);
    /* The host's own info struct may have any size as well. */
    coverslip_host_info me = host_info();
    CHECK_OK(host_entry(module)(CUT(me, offsetof(coverslip_host_info, name)), &api, &host_error));
    CHECK_OK(host_entry(module)(CUT(me, sizeof me + 16), &api, &host_error));
    api = host_api(module);
    runtime = host_open(api, argv[2]);
    inputs(argv[2]);
    pixels_at_the_edge();
    outputs();
    errors();
    batches();
    host_close(api, runtime);
    return 0;
}
