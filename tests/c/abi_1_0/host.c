/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A host of version 1.0, compiled against the header as it was then (beside this file), on the library of today.
 * Every struct, record and buffer is as large as 1.0 made it and ends before a page that may not be touched. What it
 * gets is what a library of 1.0 gave.
 */
#include "../host.h"

_Static_assert(COVERSLIP_ABI_MAJOR == 1 && COVERSLIP_ABI_MINOR == 0, "this host is compiled against version 1.0");
_Static_assert(sizeof(coverslip_runtime_desc) == 128 && sizeof(coverslip_runtime_info) == 912, "the sizes of 1.0");
_Static_assert(sizeof(coverslip_feature_info) == 344 && sizeof(coverslip_runtime_stats) == 168, "the sizes of 1.0");
_Static_assert(sizeof(coverslip_slide_desc) == 144 && sizeof(coverslip_frame) == 168, "the sizes of 1.0");
_Static_assert(sizeof(coverslip_result) == 384 && sizeof(coverslip_alert) == 88, "the sizes of 1.0");
_Static_assert(sizeof(coverslip_slide_summary) == 992 && sizeof(coverslip_api) == 160, "the sizes of 1.0");

static const coverslip_api *api;

/* Room that ends at a page that may not be touched, filled with a pattern: what is not written shows. */
static void *at_the_edge(size_t size) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (size + page - 1) / page * page;
    uint8_t *memory = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED && mprotect(memory + room, page, PROT_NONE) == 0);
    memset(memory, 0xA5, room);
    return memory + room - size; /* Never given back: a few pages. */
}

static void *copy(const void *value, size_t size) { return memcpy(at_the_edge(size), value, size); }
#define COPY(value) copy(&(value), sizeof(value))

/* An output as COVERSLIP_INIT leaves it. */
static void *output(size_t size) {
    const uint32_t stated = (uint32_t)size;
    void *place = memset(at_the_edge(size), 0, size);
    return memcpy(place, &stated, sizeof stated);
}

static int32_t progress(void *calls, const coverslip_progress *now) {
    CHECK(now->struct_size == sizeof *now && now->stage >= COVERSLIP_STAGE_VERIFY);
    CHECK(now->stage <= COVERSLIP_STAGE_SELF_CHECK && now->fraction >= 0 && now->fraction <= 1);
    ++*(int *)calls;
    return 0;
}

static coverslip_runtime open_runtime(const char *bundle) {
    coverslip_runtime_desc desc;
    coverslip_runtime runtime = 0;
    int calls = 0;
    COVERSLIP_INIT(desc);
    desc.bundle_path = bundle;
    desc.engine = COVERSLIP_ENGINE_AUTO;
    desc.max_threads = 2;
    CHECK_OK(api->runtime_open(COPY(desc), progress, &calls, &runtime, &host_error));
    CHECK(runtime != 0 && calls > 0);

    /* What 1.0 refused is refused with the same codes. */
    coverslip_runtime other = 0;
    desc.reserved = 1;
    CHECK(api->runtime_open(COPY(desc), NULL, NULL, &other, NULL) == COVERSLIP_INVALID_ARGUMENT);
    desc.reserved = 0;
    desc.flags = 0x80000000u;
    CHECK(api->runtime_open(COPY(desc), NULL, NULL, &other, NULL) == COVERSLIP_INVALID_ARGUMENT);
    return runtime;
}

static const coverslip_runtime_info *about(coverslip_runtime runtime) {
    coverslip_runtime_info *info = output(sizeof *info);
    CHECK_OK(api->runtime_info(runtime, info, &host_error));
    CHECK(info->struct_size == sizeof *info && info->engine == COVERSLIP_ENGINE_CPU);
    CHECK(info->precision == COVERSLIP_PRECISION_FLOAT32 && info->reserved == 0);
    CHECK(info->fallback_reason != COVERSLIP_REASON_NONE && info->fallback_reason <= COVERSLIP_REASON_DEFECT);
    coverslip_feature_info *feature = output(sizeof *feature);
    CHECK_OK(api->feature_info(runtime, 1, feature, &host_error));
    CHECK(feature->index == 1);
    return info;
}

/* Refusals that 1.0 had too: a mono camera, another focal plane. */
static void refused_frames(coverslip_slide slide, coverslip_frame frame) {
    frame.pixel_format = 0x01080001u;
    CHECK(api->slide_submit(slide, COPY(frame), NULL) == COVERSLIP_UNSUPPORTED_FORMAT);
    frame.pixel_format = COVERSLIP_PFNC_RGB8;
    frame.focal_plane = 1;
    CHECK(api->slide_submit(slide, COPY(frame), NULL) == COVERSLIP_UNSUPPORTED);
}

static void submit_all(coverslip_slide slide, uint32_t side) {
    const uint8_t *pixels = host_pixels(side);
    refused_frames(slide, host_frame(pixels, side, 0));
    for (uint32_t index = 0; index < TILES_ACROSS * TILES_DOWN; index++) {
        const coverslip_frame frame = host_frame(copy(pixels, (size_t)3 * side * side), side, index);
        CHECK_OK(api->slide_submit_wait(slide, COPY(frame), 60000, &host_error));
    }
}

/* Polls records of 1.0's size, a few at a time, with features and embeddings. */
static void poll_all(coverslip_slide slide, const coverslip_runtime_info *info) {
    enum { CAPACITY = 5 };
    const uint32_t k = info->features_per_tile, width = info->embedding_width;
    coverslip_feature *features = at_the_edge((size_t)CAPACITY * k * sizeof *features);
    float *embeddings = at_the_edge((size_t)CAPACITY * width * sizeof *embeddings);
    uint64_t next = 0;
    for (;;) {
        coverslip_result *records = at_the_edge(CAPACITY * sizeof *records);
        coverslip_result_batch *batch = output(sizeof *batch);
        batch->record_size = sizeof *records;
        batch->records = records;
        batch->features = features;
        batch->embeddings = embeddings;
        batch->record_capacity = CAPACITY;
        batch->feature_capacity = CAPACITY * k;
        batch->embedding_capacity = CAPACITY * width;
        const int32_t code = api->slide_wait(slide, batch, 60000, &host_error);
        if (code == COVERSLIP_END_OF_RESULTS) break;
        CHECK_OK(code);
        for (uint32_t i = 0; i < batch->record_count; i++) {
            const coverslip_result *record = &records[i];
            CHECK(record->sequence == next++ && record->status == COVERSLIP_TILE_DONE);
            CHECK(record->width == info->side && record->x == (int64_t)record->column * info->side);
            CHECK(record->coverage == 1.0f && record->first_frame_id == record->last_frame_id);
            CHECK(record->flags_checked < 1u << COVERSLIP_FLAG_COUNT && record->flags_calibrated == 0);
            CHECK(record->feature_count > 0 && record->active_count >= record->feature_count);
            CHECK(features[record->feature_offset].index < info->feature_count);
            CHECK(record->embedding_count == width && record->embedding_offset == i * width);
            /* The last fields of 1.0's record: on glass or tissue, the tissue was measured. */
            CHECK(record->measurements[COVERSLIP_MEASURE_TISSUE] >= 0 && record->p_values[15] != record->p_values[15]);
            CHECK(record->measurements[31] != record->measurements[31]);
        }
        /* Behind the last record that was given, the array is as it was. */
        const uint8_t *rest = (const uint8_t *)&records[batch->record_count];
        for (const uint8_t *end = (const uint8_t *)&records[CAPACITY]; rest < end; rest++) CHECK(*rest == 0xA5);
    }
    CHECK(next == TILES_ACROSS * TILES_DOWN);
}

/* AUTO without a GPU: one alert, with the reason in its strength. */
static void alerts(coverslip_slide slide, int32_t reason) {
    coverslip_alert *records = at_the_edge(2 * sizeof *records);
    coverslip_alert_batch *batch = output(sizeof *batch);
    batch->record_size = sizeof *records;
    batch->records = records;
    batch->record_capacity = 2;
    CHECK_OK(api->slide_alerts(slide, batch, &host_error));
    CHECK(batch->record_count == 1 && records[0].code == COVERSLIP_ALERT_ENGINE_FALLBACK);
    CHECK(records[0].strength == reason && records[0].time_ns >= 0);
    const uint8_t *rest = (const uint8_t *)&records[1];
    for (const uint8_t *end = (const uint8_t *)&records[2]; rest < end; rest++) CHECK(*rest == 0xA5);
}

static void scan(coverslip_runtime runtime) {
    const coverslip_runtime_info *info = about(runtime);
    coverslip_slide_desc desc = host_slide_desc(info);
    coverslip_slide slide = 0;
    desc.flags = COVERSLIP_SLIDE_EMBEDDINGS;
    CHECK_OK(api->slide_begin(runtime, COPY(desc), &slide, &host_error));
    desc.flags = 0x80000000u;
    coverslip_slide other = 0;
    CHECK(api->slide_begin(runtime, COPY(desc), &other, NULL) == COVERSLIP_INVALID_ARGUMENT && other == 0);

    submit_all(slide, info->side);
    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    poll_all(slide, info);
    alerts(slide, info->fallback_reason);

    coverslip_slide_summary *summary = output(sizeof *summary);
    CHECK_OK(api->slide_summary(slide, summary, &host_error));
    CHECK(summary->struct_size == sizeof *summary && summary->state == COVERSLIP_SLIDE_FINISHED);
    CHECK(summary->opened == TILES_ACROSS * TILES_DOWN && summary->results[0] == summary->opened);
    CHECK(summary->results[COVERSLIP_TILE_DONE] == summary->opened && summary->unpolled == 0);
    CHECK(summary->frames_accepted == summary->opened && summary->alerts == 1);
    CHECK(summary->engine == COVERSLIP_ENGINE_CPU && summary->reserved == 0);
    CHECK(memcmp(summary->bundle_digest, info->bundle_digest, sizeof info->bundle_digest) == 0);

    coverslip_runtime_stats *stats = output(sizeof *stats);
    CHECK_OK(api->runtime_stats(runtime, stats, &host_error));
    CHECK(stats->results[COVERSLIP_TILE_DONE] == summary->opened && stats->slides_open == 1);
    CHECK(stats->budget_percent == 100 && stats->reserved == 0);
    CHECK_OK(api->slide_end(slide, &host_error));
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    coverslip_host_info me = host_info();
    me.abi_minor_min = 0;
    CHECK_OK(host_entry(host_load(argv[1]))(COPY(me), &api, &host_error));
    CHECK(api->abi_major == 1 && api->abi_minor >= 1 && api->struct_size > sizeof(coverslip_api));
    coverslip_runtime runtime = open_runtime(argv[2]);
    scan(runtime);
    CHECK_OK(api->runtime_set_budget(runtime, 50, &host_error));
    host_close(api, runtime);
    CHECK(api->runtime_info(runtime, output(sizeof(coverslip_runtime_info)), &host_error) == COVERSLIP_INVALID_HANDLE);
    CHECK(host_error.code == COVERSLIP_INVALID_HANDLE && host_error.message[0] != '\0');
    return 0;
}
