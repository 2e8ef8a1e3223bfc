/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * 05 — Busy and recovery: what to do when a call does not return OK.
 *
 *   BUSY from slide_submit        no room: submit the frame again later, or go on without it
 *   TIMEOUT from slide_finish     the slide goes on: take results, and call it again
 *   slide_cancel                  gives the slide up; every tile still ends in exactly one result
 *   ENGINE_UNAVAILABLE            see 06_gpu.c
 *
 * Usage: 05_busy_and_recovery BUNDLE
 */
#include "example.h"

enum { CAPACITY = 8 };

/* The drawn slide as a camera sees it whose field is exactly one tile. */
typedef struct scanner {
    const coverslip_api *api;
    uint8_t *pixels;
    uint32_t tile, columns, count;
} scanner;

static coverslip_frame capture(const scanner *s, uint32_t index) {
    const uint32_t x = index % s->columns * s->tile, y = index / s->columns * s->tile;
    coverslip_frame frame = example_frame(s->pixels, (int32_t)x, (int32_t)y, s->tile, s->tile, false);
    frame.frame_id = (uint64_t)index + 1;
    return frame;
}

static coverslip_slide begin(const scanner *s, coverslip_runtime runtime) {
    coverslip_slide slide = 0;
    coverslip_slide_desc desc = example_slide(s->tile, s->tile);
    desc.max_unpolled = 4; /* Small, so that a host that does not poll meets BUSY soon. */
    CHECK_OK(s->api->slide_begin(runtime, &desc, &slide, &error));
    return slide;
}

/* Takes results, waiting up to `timeout_ms` for the first. Returns what slide_wait does; counts by status. */
static int32_t take_results(const scanner *s, coverslip_slide slide, uint32_t timeout_ms, uint64_t counts[8]) {
    coverslip_result records[CAPACITY];
    coverslip_result_batch batch = example_batch(records, CAPACITY);
    const int32_t code = s->api->slide_wait(slide, &batch, timeout_ms, &error);
    for (uint32_t i = 0; code == COVERSLIP_OK && i < batch.record_count; i++) {
        counts[0]++;
        counts[records[i].status]++;
    }
    return code;
}

/* The stage cannot wait and the host does not poll: results pile up and keep their slots, until submit has no room. */
static void frames_are_refused_and_come_again(const scanner *s, coverslip_runtime runtime) {
    const coverslip_slide slide = begin(s, runtime);
    uint32_t *refused = malloc(s->count * sizeof *refused);
    uint32_t refused_count = 0;
    CHECK(refused != NULL);
    for (uint32_t i = 0; i < s->count; i++) {
        const coverslip_frame frame = capture(s, i);
        const int32_t code = s->api->slide_submit(slide, &frame, &error);
        CHECK(code == COVERSLIP_OK || code == COVERSLIP_BUSY);
        if (code == COVERSLIP_BUSY) refused[refused_count++] = i;
    }
    CHECK(refused_count > 1);
    printf("%" PRIu32 " of %" PRIu32 " frames refused: %s\n", refused_count, s->count, error.message);

    /* Back to all of them but one. A single thread both submits and polls here: on BUSY it takes results, which frees
     * slots, and submits again. With a thread that polls, slide_submit_wait alone would do. */
    uint64_t counts[8] = {0};
    for (uint32_t i = 0; i + 1 < refused_count; i++) {
        const coverslip_frame frame = capture(s, refused[i]);
        int32_t code;
        while ((code = s->api->slide_submit_wait(slide, &frame, 10, &error)) == COVERSLIP_BUSY) {
            code = take_results(s, slide, PATIENCE_MS, counts);
            CHECK(code == COVERSLIP_OK);
        }
        CHECK(code == COVERSLIP_OK);
    }
    free(refused);

    /* No more frames. More results than max_unpolled are still to come, so finish returns before the end. */
    int32_t code;
    uint32_t timeouts = 0;
    while ((code = s->api->slide_finish(slide, 10, &error)) == COVERSLIP_TIMEOUT) {
        timeouts++;
        code = take_results(s, slide, PATIENCE_MS, counts);
        CHECK(code == COVERSLIP_OK);
    }
    CHECK(code == COVERSLIP_OK && timeouts > 0);
    while ((code = take_results(s, slide, 0, counts)) == COVERSLIP_OK) {
    }
    CHECK(code == COVERSLIP_END_OF_RESULTS);

    /* The frame that never came again is not forgotten: its tile ends as REFUSED. */
    const coverslip_slide_summary sum = example_summary(s->api, slide);
    printf("%" PRIu64 " tiles, each with one result: %" PRIu64 " analysed, %" PRIu64 " background, %" PRIu64
           " refused\n",
           sum.opened, counts[COVERSLIP_TILE_DONE], counts[COVERSLIP_TILE_BACKGROUND], counts[COVERSLIP_TILE_REFUSED]);
    CHECK(sum.opened == s->count && counts[0] == s->count && counts[COVERSLIP_TILE_REFUSED] == 1);
    CHECK(counts[COVERSLIP_TILE_DONE] + counts[COVERSLIP_TILE_BACKGROUND] + 1 == s->count);
    CHECK(sum.frames_refused >= refused_count && sum.alerts > 0); /* The alert is OVERRUN. */
    CHECK_OK(s->api->slide_end(slide, &error));
}

/* The operator takes the slide out. */
static void a_slide_is_cancelled(const scanner *s, coverslip_runtime runtime) {
    const coverslip_slide slide = begin(s, runtime);
    for (uint32_t i = 0; i < 10; i++) {
        const coverslip_frame frame = capture(s, i);
        CHECK_OK(s->api->slide_submit(slide, &frame, &error));
    }
    CHECK_OK(s->api->slide_cancel(slide, &error)); /* From any thread; does not wait. */
    const coverslip_frame late = capture(s, 10);
    CHECK(s->api->slide_submit(slide, &late, &error) == COVERSLIP_WRONG_STATE);
    printf("a frame after the cancel: %s\n", error.message);

    uint64_t counts[8] = {0};
    int32_t code;
    while ((code = take_results(s, slide, PATIENCE_MS, counts)) == COVERSLIP_OK) {
    }
    CHECK(code == COVERSLIP_END_OF_RESULTS && counts[0] == 10);
    CHECK(counts[COVERSLIP_TILE_CANCELLED] + counts[COVERSLIP_TILE_DONE] + counts[COVERSLIP_TILE_BACKGROUND] == 10);
    printf("10 tiles, each with one result: %" PRIu64 " cancelled\n", counts[COVERSLIP_TILE_CANCELLED]);
    CHECK_OK(s->api->slide_end(slide, &error));
    CHECK(s->api->slide_end(slide, &error) == COVERSLIP_INVALID_HANDLE); /* A stale handle does no harm. */
}

int main(int argc, char **argv) {
    const char *const bundle = example_bundle(argc, argv);
    scanner s = {0};
    s.api = example_api("05_busy_and_recovery 1.0");
    /* One lane: the fewer tiles can be on their way, the fewer slots a slide has. */
    const coverslip_runtime runtime = example_open(s.api, bundle, 1);
    const coverslip_runtime_info info = example_info(s.api, runtime);
    s.tile = example_tile(&info);
    s.columns = SPECIMEN_WIDTH / s.tile;
    s.count = s.columns * (SPECIMEN_HEIGHT / s.tile);
    s.pixels = malloc((size_t)3 * s.tile * s.tile);
    CHECK(s.pixels != NULL);

    frames_are_refused_and_come_again(&s, runtime);
    a_slide_is_cancelled(&s, runtime);
    frames_are_refused_and_come_again(&s, runtime); /* The runtime is as good as new. */

    free(s.pixels);
    CHECK_OK(s.api->runtime_close(runtime, PATIENCE_MS, &error));
    return 0;
}
