/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * 04 — Alerts: the focus is lost in the middle of the scan; the host hears of it while the slide is still on the
 * stage, refocuses, and scans that box again.
 *
 *   slide_alerts   takes the alerts that are there; does not wait
 *   frame.pass     0, and one more each time a region is scanned again; its tiles are judged again
 *
 * Usage: 04_alerts BUNDLE
 */
#include "example.h"

enum { STRIP = 560, STEP = 280, CAPACITY = 16 };

/* Tiles of each pass, and how many of them are out of focus. */
typedef struct tally {
    uint64_t tiles[2], blurry[2];
} tally;

/* Submits one frame; the frames of a strip carry its number. */
static void submit(const coverslip_api *api, coverslip_slide slide, coverslip_frame frame, uint64_t strip) {
    static uint64_t frame_id = 0;
    frame.frame_id = ++frame_id;
    frame.group_id = strip;
    CHECK_OK(api->slide_submit_wait(slide, &frame, PATIENCE_MS, &error));
}

/* Takes results, waiting up to `timeout_ms` for the first. Returns how many; -1: all have been taken. */
static int take_results(const coverslip_api *api, coverslip_slide slide, uint32_t timeout_ms, tally *all) {
    coverslip_result records[CAPACITY];
    coverslip_result_batch batch = example_batch(records, CAPACITY);
    const int32_t code = api->slide_wait(slide, &batch, timeout_ms, &error);
    if (code == COVERSLIP_END_OF_RESULTS) return -1;
    if (code == COVERSLIP_TIMEOUT) return 0;
    CHECK(code == COVERSLIP_OK);
    for (uint32_t i = 0; i < batch.record_count; i++) {
        CHECK(records[i].pass < 2);
        all->tiles[records[i].pass]++;
        all->blurry[records[i].pass] += (records[i].flags_raised & COVERSLIP_FLAG_OUT_OF_FOCUS) != 0;
    }
    return (int)batch.record_count;
}

/* Prints the alerts that are there. Returns whether FOCUS_LOSS was among them, and the first such alert. */
static bool take_alerts(const coverslip_api *api, coverslip_slide slide, coverslip_alert *focus_loss) {
    coverslip_alert alerts[CAPACITY];
    coverslip_alert_batch batch;
    COVERSLIP_INIT(batch);
    batch.record_size = sizeof *alerts;
    batch.records = alerts;
    batch.record_capacity = CAPACITY;
    CHECK_OK(api->slide_alerts(slide, &batch, &error));
    bool found = false;
    for (uint32_t i = 0; i < batch.record_count; i++) {
        const coverslip_alert *a = &alerts[i];
        if (a->code != COVERSLIP_ALERT_FOCUS_LOSS) {
            printf("alert %" PRId32 "\n", a->code);
        } else if (!found) {
            printf("FOCUS_LOSS since result %" PRIu64 ", frame %" PRIu64 ": %g tiles in a row, in the box (%" PRId64
                   ", %" PRId64 ") of %" PRIu64 " x %" PRIu64 "\n",
                   a->since_sequence, a->since_frame_id, a->strength, a->x, a->y, a->width, a->height);
            *focus_loss = *a;
            found = true;
        }
    }
    return found;
}

int main(int argc, char **argv) {
    const char *const bundle = example_bundle(argc, argv);
    const coverslip_api *const api = example_api("04_alerts 1.0");
    const coverslip_runtime runtime = example_open(api, bundle, 1); /* One lane: results in the order of frames. */
    coverslip_slide_desc desc = example_slide(STRIP, SPECIMEN_HEIGHT);
    desc.spread_width = STRIP;
    desc.spread_height = SPECIMEN_HEIGHT;
    coverslip_slide slide = 0;
    CHECK_OK(api->slide_begin(runtime, &desc, &slide, &error));
    uint8_t *pixels = malloc((size_t)3 * STRIP * SPECIMEN_HEIGHT);
    CHECK(pixels != NULL);

    /* The scan: strip by strip from left to right, each from top to bottom. After each frame the host takes what is
     * there; the stage of a real scanner gives it more time for that than this one. */
    tally all = {{0, 0}, {0, 0}};
    coverslip_alert alert = {0};
    bool lost = false;
    for (int32_t x = 0; x < SPECIMEN_WIDTH; x += STRIP) {
        const uint32_t width = SPECIMEN_WIDTH - x < STRIP ? (uint32_t)(SPECIMEN_WIDTH - x) : STRIP;
        for (int32_t y = 0; y < SPECIMEN_HEIGHT; y += STEP) {
            submit(api, slide, example_frame(pixels, x, y, width, STEP, false), (uint64_t)(x / STRIP) + 1);
            take_results(api, slide, 20, &all);
            lost = take_alerts(api, slide, &alert) || lost;
        }
    }
    /* Every pixel has come, so every tile gets its result. The slide stays open. */
    while (all.tiles[0] < example_summary(api, slide).opened) take_results(api, slide, PATIENCE_MS, &all);
    lost = take_alerts(api, slide, &alert) || lost;
    CHECK(lost && all.blurry[0] > 0 && all.tiles[1] == 0);
    printf("first pass: %" PRIu64 " tiles, %" PRIu64 " out of focus\n", all.tiles[0], all.blurry[0]);

    /* The focus is set again, and the columns of the alert's box are scanned once more from its top to the slide's
     * end. The box is that of the moment of the alert: the tiles below it were blurry too. */
    const int32_t top = (int32_t)alert.y;
    coverslip_frame again = example_frame(pixels, (int32_t)alert.x, top, (uint32_t)alert.width,
                                          (uint32_t)(SPECIMEN_HEIGHT - top), true);
    again.pass = 1;
    submit(api, slide, again, 100);
    CHECK_OK(api->slide_finish(slide, PATIENCE_MS, &error));
    while (take_results(api, slide, PATIENCE_MS, &all) >= 0) {
    }
    printf("second pass: %" PRIu64 " tiles, %" PRIu64 " out of focus\n", all.tiles[1], all.blurry[1]);
    CHECK(all.tiles[1] >= all.blurry[0] && all.blurry[1] == 0);
    CHECK(!take_alerts(api, slide, &alert));
    CHECK(example_summary(api, slide).results[0] == all.tiles[0] + all.tiles[1]);
    free(pixels);
    CHECK_OK(api->slide_end(slide, &error));
    CHECK_OK(api->runtime_close(runtime, PATIENCE_MS, &error));
    return 0;
}
