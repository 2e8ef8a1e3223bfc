/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * 03 — Strips and overlap: the same slide as a line scanner and as a camera give it.
 *
 * Tiles lie on the slide's grid, not in frames: a frame gives its pixels to every tile that it covers, and a tile
 * goes on when its last pixel has arrived. Where frames overlap, the first one wins. So it does not matter how a
 * slide was cut: this example scans it twice, and every tile has the same features to the last bit.
 *
 * Usage: 03_strips_and_overlap BUNDLE
 */
#include "example.h"

/* How a slide is cut into frames of one size. A step that is shorter than the frame makes an overlap. */
typedef struct cut {
    const char *name;
    int32_t width, height, step_x, step_y;
} cut;

static const cut strips = {"strips", SPECIMEN_WIDTH, 304, SPECIMEN_WIDTH, 272};
static const cut fields = {"fields", 540, 400, 492, 360};

enum { BATCH = 16 };

/* Gives the frames row by row. */
static void submit_all(const coverslip_api *api, coverslip_slide slide, const cut *how) {
    const uint32_t width = (uint32_t)how->width, height = (uint32_t)how->height;
    uint8_t *pixels = malloc((size_t)3 * width * height);
    CHECK(pixels != NULL);
    uint64_t frame_id = 0;
    for (int32_t y = 0; y + how->height <= SPECIMEN_HEIGHT; y += how->step_y) {
        for (int32_t x = 0; x + how->width <= SPECIMEN_WIDTH; x += how->step_x) {
            coverslip_frame frame = example_frame(pixels, x, y, width, height, false);
            frame.frame_id = ++frame_id;
            frame.group_id = (uint64_t)(y / how->step_y) + 1; /* The strip: FOCUS_LOSS and BANDING are about one. */
            CHECK_OK(api->slide_submit_wait(slide, &frame, PATIENCE_MS, &error));
        }
    }
    free(pixels);
}

/* FNV-1a over the features: equal numbers for equal features. */
static uint64_t fingerprint(const coverslip_feature *features, uint32_t count) {
    uint64_t hash = 14695981039346656037u;
    const unsigned char *bytes = (const unsigned char *)features;
    for (size_t i = 0; i < count * sizeof *features; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

/* Scans the slide, and writes a fingerprint per place of the grid. Returns the number of tiles. */
static uint64_t scan(const coverslip_api *api, coverslip_runtime runtime, const cut *how, uint32_t columns,
                     uint64_t *found) {
    const coverslip_runtime_info info = example_info(api, runtime);
    coverslip_slide slide = 0;
    coverslip_slide_desc desc = example_slide((uint32_t)how->width, (uint32_t)how->height);
    /* Where tiles may be partial at the same time: after a row of frames, all along the row. Memory follows it. */
    desc.spread_width = SPECIMEN_WIDTH;
    desc.spread_height = (uint64_t)how->height;
    CHECK_OK(api->slide_begin(runtime, &desc, &slide, &error));
    submit_all(api, slide, how);
    CHECK_OK(api->slide_finish(slide, PATIENCE_MS, &error));

    coverslip_result records[BATCH];
    coverslip_feature *features = malloc(BATCH * (size_t)info.features_per_tile * sizeof *features);
    CHECK(features != NULL);
    coverslip_result_batch batch = example_batch(records, BATCH);
    batch.features = features;
    batch.feature_capacity = BATCH * info.features_per_tile;
    int32_t code;
    while ((code = api->slide_poll(slide, &batch, &error)) == COVERSLIP_OK) {
        for (uint32_t i = 0; i < batch.record_count; i++) {
            const coverslip_result *r = &records[i];
            CHECK(r->coverage == 1.0f);
            found[(uint32_t)r->row * columns + (uint32_t)r->column] =
                fingerprint(features + r->feature_offset, r->feature_count);
        }
    }
    CHECK(code == COVERSLIP_END_OF_RESULTS);
    free(features);

    const coverslip_slide_summary s = example_summary(api, slide);
    const uint64_t again = s.pixels_duplicate + s.pixels_late; /* Late: the tile had already gone on. */
    printf("%s of %" PRId32 " x %" PRId32 ": %" PRIu64 " frames, %" PRIu64 " tiles, %.0f %% of the pixels came again, "
           "%.1f MB reserved\n",
           how->name, how->width, how->height, s.frames_accepted, s.results[0],
           100.0 * (double)again / (double)s.pixels_used, (double)s.memory_bytes / 1e6);
    CHECK(s.pixels_used == (uint64_t)SPECIMEN_WIDTH * SPECIMEN_HEIGHT && again > 0); /* Each pixel counts once. */
    CHECK(s.pixels_outside == 0 && s.retired_early == 0);
    CHECK_OK(api->slide_end(slide, &error));
    return s.results[0];
}

int main(int argc, char **argv) {
    const char *const bundle = example_bundle(argc, argv);
    const coverslip_api *const api = example_api("03_strips_and_overlap 1.0");
    const coverslip_runtime runtime = example_open(api, bundle, 0);
    const coverslip_runtime_info info = example_info(api, runtime);
    const uint32_t tile = example_tile(&info);
    const uint32_t columns = (SPECIMEN_WIDTH + tile - 1) / tile, rows = (SPECIMEN_HEIGHT + tile - 1) / tile;
    uint64_t *first = calloc((size_t)columns * rows, sizeof *first);
    uint64_t *second = calloc((size_t)columns * rows, sizeof *second);
    CHECK(first != NULL && second != NULL);

    CHECK(scan(api, runtime, &strips, columns, first) == (uint64_t)columns * rows);
    CHECK(scan(api, runtime, &fields, columns, second) == (uint64_t)columns * rows);
    CHECK(memcmp(first, second, (size_t)columns * rows * sizeof *first) == 0);
    printf("%" PRIu32 " x %" PRIu32 " tiles: the same features from strips and from fields\n", columns, rows);

    free(first);
    free(second);
    CHECK_OK(api->runtime_close(runtime, PATIENCE_MS, &error));
    return 0;
}
