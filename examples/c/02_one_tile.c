/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * 02 — One tile: a slide of a single tile, and everything that is known about it afterwards.
 *
 *   slide_begin    sizes and reserves the slide's memory
 *   slide_submit   copies a frame's pixels; the buffer is free again when it returns
 *   slide_finish   no more frames; waits until every tile has its result
 *   slide_poll     takes results until END_OF_RESULTS
 *   slide_end      frees the memory
 *
 * Usage: 02_one_tile BUNDLE
 */
#include "example.h"

enum { TILE_X = 800, TILE_Y = 448 }; /* In the middle of the drawn slide: tissue, in focus. */

static void print_result(const coverslip_api *api, coverslip_runtime runtime, const coverslip_result *result,
                         const coverslip_feature *features, const float *embedding) {
    printf("tile (%" PRId32 ", %" PRId32 ") at (%" PRId64 ", %" PRId64 "): status %" PRId32 ", %.0f %% of its pixels\n",
           result->column, result->row, result->x, result->y, result->status, 100.0 * (double)result->coverage);

    /* Four answers per flag, because a flag that was not checked has not passed. */
    static const char *const flags[] = {"BACKGROUND", "OUT_OF_FOCUS", "UNDEREXPOSED", "OVEREXPOSED"};
    for (uint32_t bit = 0; bit < 4; bit++) {
        const bool checked = result->flags_checked >> bit & 1, raised = result->flags_raised >> bit & 1;
        printf("  %-13s %s, score %.3g\n", flags[bit], !checked ? "not checked" : raised ? "raised" : "passed",
               (double)result->scores[bit]);
    }

    /* Features come strongest first. feature_info has the lab's label, empty where there is none. */
    for (uint32_t i = 0; i < result->feature_count && i < 3; i++) {
        coverslip_feature_info meaning;
        COVERSLIP_INIT(meaning);
        CHECK_OK(api->feature_info(runtime, features[i].index, &meaning, &error));
        printf("  feature %" PRIu32 " = %.3f %s\n", features[i].index, (double)features[i].value, meaning.label);
    }
    printf("  %" PRIu32 " features active, %" PRIu32 " reported; embedding %.3f %.3f %.3f ...\n", result->active_count,
           result->feature_count, (double)embedding[0], (double)embedding[1], (double)embedding[2]);
}

int main(int argc, char **argv) {
    const char *const bundle = example_bundle(argc, argv);
    const coverslip_api *const api = example_api("02_one_tile 1.0");
    const coverslip_runtime runtime = example_open(api, bundle, 0);
    const coverslip_runtime_info info = example_info(api, runtime);

    /* The slide is one tile, which covers what the model sees: `side` px at the model's own um/px. On a slide that is
     * scanned at another resolution the tile has more or fewer pixels. */
    const uint32_t tile = (uint32_t)lround(info.side * info.mpp / specimen_mpp);
    coverslip_slide_desc desc;
    COVERSLIP_INIT(desc);
    desc.scanner_id = "example-scanner";
    desc.slide_id = "one-tile";
    desc.color_state = COVERSLIP_COLOR_SRGB;
    desc.mpp_x = desc.mpp_y = specimen_mpp;
    desc.extent_x = TILE_X; /* The grid begins here. */
    desc.extent_y = TILE_Y;
    desc.extent_width = desc.extent_height = tile;
    desc.max_frame_width = desc.max_frame_height = tile;
    desc.flags = COVERSLIP_SLIDE_EMBEDDINGS;
    coverslip_slide slide = 0;
    CHECK_OK(api->slide_begin(runtime, &desc, &slide, &error));

    /* The frame: rows of red, green, blue. */
    const size_t size = (size_t)3 * tile * tile;
    uint8_t *pixels = malloc(size);
    CHECK(pixels != NULL);
    specimen_capture(TILE_X, TILE_Y, tile, tile, false, pixels);
    coverslip_frame frame;
    COVERSLIP_INIT(frame);
    frame.pixel_format = COVERSLIP_PFNC_RGB8;
    frame.plane_count = 1;
    frame.x = TILE_X;
    frame.y = TILE_Y;
    frame.width = frame.height = tile;
    frame.planes[0].data = pixels;
    frame.planes[0].stride = (uint64_t)3 * tile;
    frame.planes[0].size = size;
    frame.frame_id = 1;
    CHECK_OK(api->slide_submit(slide, &frame, &error));
    free(pixels);
    CHECK_OK(api->slide_finish(slide, PATIENCE_MS, &error));

    /* Room for one result with its features and embeddings. */
    coverslip_result record;
    coverslip_feature *features = malloc(info.features_per_tile * sizeof *features);
    float *embeddings = malloc(info.embedding_width * sizeof *embeddings);
    CHECK(features != NULL && embeddings != NULL);
    coverslip_result_batch batch;
    COVERSLIP_INIT(batch);
    batch.record_size = sizeof record;
    batch.records = &record;
    batch.record_capacity = 1;
    batch.features = features;
    batch.feature_capacity = info.features_per_tile;
    batch.embeddings = embeddings;
    batch.embedding_capacity = info.embedding_width;
    CHECK_OK(api->slide_poll(slide, &batch, &error));
    CHECK(batch.record_count == 1 && record.status == COVERSLIP_TILE_DONE && record.first_frame_id == 1);
    CHECK(record.feature_count > 0 && record.embedding_count == info.embedding_width);
    print_result(api, runtime, &record, features + record.feature_offset, embeddings + record.embedding_offset);
    CHECK(api->slide_poll(slide, &batch, &error) == COVERSLIP_END_OF_RESULTS);
    free(features);
    free(embeddings);

    CHECK_OK(api->slide_end(slide, &error));
    CHECK_OK(api->runtime_close(runtime, PATIENCE_MS, &error));
    return 0;
}
