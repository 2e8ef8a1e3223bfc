/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * 07 — Scanner: a complete acquisition loop with its own handling of errors, ready to be copied.
 *
 *   main thread         opens the bundle, begins the slide, starts the two others, prints the summary
 *   acquisition thread  captures field after field and submits each; never waits while the stage moves
 *   results thread      takes results and alerts as they come
 *
 * Usage: 07_scanner BUNDLE [REPORT]
 * With REPORT the slide's report is written there, to be kept with its files.
 * Exit code: 0 when every tile is accounted for and no call returned an unexpected code.
 */
#include <coverslip/coverslip.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "../common/specimen.h"
#include "thread.h"

enum {
    FIELD = 512,           /* The camera's field, wide and high. */
    STEP = 464,            /* From field to field: an overlap of about 10 %. */
    COLUMNS = (SPECIMEN_WIDTH - FIELD + STEP - 1) / STEP + 1,
    ROWS = (SPECIMEN_HEIGHT - FIELD + STEP - 1) / STEP + 1,
    BATCH = 64,            /* Results taken at once. */
    PATIENCE_MS = 60000    /* How long the host waits for room, for the slide's end and for the runtime's. */
};

typedef struct host {
    const coverslip_api *api;
    coverslip_slide slide;
    uint32_t features_per_tile;
    atomic_bool failed;      /* Set by the thread that met an unexpected code. */
    uint64_t busy;           /* Written by the acquisition thread: frames refused at first. */
    uint64_t polled;         /* Written by the results thread, as are the next two. */
    uint64_t flagged;
    uint64_t alerts;
} host;

static const char *alert_name(int32_t code) {
    static const char *const names[] = {"?", "FOCUS_LOSS", "COLOR_DRIFT", "EMBEDDING_DRIFT", "SCANNER_MISMATCH",
                                        "BANDING", "LAGGING", "OVERRUN", "ENGINE_FALLBACK", "UNKNOWN_SCANNER",
                                        "WORKER_RESTARTED", "PROFILE_PRECISION", "SCANNER_DRIFT"};
    return code > 0 && code < (int32_t)(sizeof names / sizeof *names) ? names[code] : names[0];
}

/* Says what went wrong, and cancels the slide: the other threads then come to their end too. */
static void fail(host *h, const char *what, const coverslip_error *error) {
    fprintf(stderr, "%s: error %" PRId32 ": %s\n", what, error->code, error->message);
    atomic_store(&h->failed, true);
    if (h->slide != 0) h->api->slide_cancel(h->slide, NULL);
}

/* ----------------------------------------------------------------------------------- acquisition -- */

/* Captures one field into `pixels` and describes it. The last column and row move inwards, as a stage does. */
static coverslip_frame capture(int index, uint8_t *pixels) {
    const int x = index % COLUMNS * STEP, y = index / COLUMNS * STEP;
    coverslip_frame frame;
    COVERSLIP_INIT(frame);
    frame.pixel_format = COVERSLIP_PFNC_RGB8;
    frame.plane_count = 1;
    frame.x = x < SPECIMEN_WIDTH - FIELD ? x : SPECIMEN_WIDTH - FIELD;
    frame.y = y < SPECIMEN_HEIGHT - FIELD ? y : SPECIMEN_HEIGHT - FIELD;
    frame.width = FIELD;
    frame.height = FIELD;
    frame.planes[0].data = pixels;
    frame.planes[0].stride = 3 * FIELD;
    frame.planes[0].size = 3 * FIELD * FIELD;
    frame.frame_id = (uint64_t)index + 1;
    frame.group_id = (uint64_t)(index / COLUMNS) + 1; /* One strip per row of fields. */
    specimen_capture((int32_t)frame.x, (int32_t)frame.y, FIELD, FIELD, false, pixels);
    return frame;
}

static void acquire(void *argument) {
    host *h = argument;
    coverslip_error error;
    int refused[COLUMNS * ROWS];
    int refused_count = 0;
    uint8_t *pixels = malloc(3 * FIELD * FIELD);
    COVERSLIP_INIT(error);
    if (pixels == NULL) {
        error.code = COVERSLIP_OUT_OF_MEMORY;
        fail(h, "acquisition", &error);
        return;
    }

    /* The stage moves and cannot wait: a field that is refused is noted, and the scan goes on. */
    for (int index = 0; index < COLUMNS * ROWS && !atomic_load(&h->failed); index++) {
        const coverslip_frame frame = capture(index, pixels);
        const int32_t code = h->api->slide_submit(h->slide, &frame, &error);
        if (code == COVERSLIP_BUSY) {
            refused[refused_count++] = index;
        } else if (code != COVERSLIP_OK) {
            fail(h, "submit", &error);
        }
    }
    h->busy = (uint64_t)refused_count;

    /* Then the stage goes back to those, and may wait. A scanner with a ring buffer submits from the buffer instead. */
    for (int i = 0; i < refused_count && !atomic_load(&h->failed); i++) {
        const coverslip_frame frame = capture(refused[i], pixels);
        const int32_t code = h->api->slide_submit_wait(h->slide, &frame, PATIENCE_MS, &error);
        if (code != COVERSLIP_OK) fail(h, "submit again", &error);
    }
    free(pixels);

    if (!atomic_load(&h->failed) && h->api->slide_finish(h->slide, PATIENCE_MS, &error) != COVERSLIP_OK) {
        fail(h, "finish", &error);
    }
}

/* --------------------------------------------------------------------------------------- results -- */

static void print_alerts(host *h) {
    coverslip_error error;
    coverslip_alert alerts[8];
    coverslip_alert_batch batch;
    COVERSLIP_INIT(error);
    do {
        COVERSLIP_INIT(batch);
        batch.record_size = sizeof *alerts;
        batch.records = alerts;
        batch.record_capacity = 8;
        if (h->api->slide_alerts(h->slide, &batch, &error) != COVERSLIP_OK) {
            fail(h, "alerts", &error);
            return;
        }
        for (uint32_t i = 0; i < batch.record_count; i++) {
            const coverslip_alert *a = &alerts[i];
            printf("alert %s at (%" PRId64 ", %" PRId64 "), %" PRIu64 " x %" PRIu64 " px, since frame %" PRIu64
                   ": %.3g against %.3g\n",
                   alert_name(a->code), a->x, a->y, a->width, a->height, a->since_frame_id, a->strength,
                   a->threshold);
        }
        h->alerts += batch.record_count;
    } while (batch.record_count == batch.record_capacity);
}

static void take_results(void *argument) {
    host *h = argument;
    coverslip_error error;
    coverslip_result_batch batch;
    coverslip_result *records = malloc(BATCH * sizeof *records);
    coverslip_feature *features = malloc(BATCH * (size_t)h->features_per_tile * sizeof *features);
    int32_t code = COVERSLIP_OK;
    COVERSLIP_INIT(error);
    if (records == NULL || features == NULL) {
        error.code = code = COVERSLIP_OUT_OF_MEMORY;
        fail(h, "results", &error);
    }

    while (code == COVERSLIP_OK || code == COVERSLIP_TIMEOUT) {
        COVERSLIP_INIT(batch);
        batch.record_size = sizeof *records;
        batch.records = records;
        batch.features = features;
        batch.record_capacity = BATCH;
        batch.feature_capacity = BATCH * h->features_per_tile;
        code = h->api->slide_wait(h->slide, &batch, 100, &error);
        if (code == COVERSLIP_OK) {
            for (uint32_t i = 0; i < batch.record_count; i++) {
                /* This is where a scanner decides: scan this field again, refocus, or store the features. */
                const uint32_t quality = records[i].flags_raised & ~COVERSLIP_FLAG_BACKGROUND;
                h->flagged += quality != 0;
            }
            h->polled += batch.record_count;
        } else if (code != COVERSLIP_TIMEOUT && code != COVERSLIP_END_OF_RESULTS) {
            fail(h, "wait", &error);
        }
        print_alerts(h);
    }
    free(records);
    free(features);
}

/* ------------------------------------------------------------------------------------------ main -- */

/* Prints the counters; true when they account for every tile. */
static bool print_summary(const host *h, const coverslip_slide_summary *s) {
    static const char *const status[] = {"results", "done", "background", "incomplete",
                                         "refused", "expired", "cancelled", "failed"};
    printf("frames: %" PRIu64 " accepted, %" PRIu64 " refused (%" PRIu64 " captured again)\n", s->frames_accepted,
           s->frames_refused, h->busy);
    printf("tiles: %" PRIu64 " opened =", s->opened);
    for (int i = 1; i < 8; i++) printf(" %s%" PRIu64 " %s", i > 1 ? "+ " : "", s->results[i], status[i]);
    printf("\nquality: %" PRIu64 " tiles flagged, %" PRIu64 " alerts\n", h->flagged, h->alerts);
    printf("time: %.2f s, from a tile's last pixel to its result %.0f ms (median), %.0f ms (99 %%)\n",
           (double)s->elapsed_ns / 1e9, (double)s->latency_p50_ns / 1e6, (double)s->latency_p99_ns / 1e6);
    printf("plugin %s, engine %s\n", s->plugin_version, s->engine_version);
    return s->state == COVERSLIP_SLIDE_FINISHED && s->opened > 0 && s->in_flight == 0 && s->unpolled == 0 &&
           s->opened == s->results[0] && s->results[0] == h->polled;
}

/* Keeps the library's report of the slide. It has grown where it does not fit the second time. */
static void write_report(host *h, const char *path) {
    coverslip_error error;
    char *text = NULL;
    uint64_t capacity = 0, needed = 0;
    int32_t code;
    COVERSLIP_INIT(error);
    while ((code = h->api->slide_report_json(h->slide, text, capacity, &needed, &error)) ==
           COVERSLIP_BUFFER_TOO_SMALL) {
        char *larger = realloc(text, (size_t)needed + 64);
        if (larger == NULL) break;
        text = larger;
        capacity = needed + 64;
    }
    FILE *file = code == COVERSLIP_OK ? fopen(path, "w") : NULL;
    const bool written = file != NULL && fputs(text, file) >= 0;
    const bool closed = file != NULL && fclose(file) == 0;
    if (code != COVERSLIP_OK) {
        fail(h, "report", &error);
    } else if (!written || !closed) {
        fprintf(stderr, "%s: the report could not be written\n", path);
        atomic_store(&h->failed, true);
    }
    free(text);
}

static bool scan(host *h, coverslip_runtime runtime, const char *report_path) {
    coverslip_error error;
    coverslip_runtime_info info;
    coverslip_slide_desc desc;
    coverslip_slide_summary summary;
    thread acquisition, results;
    COVERSLIP_INIT(error);
    COVERSLIP_INIT(info);
    COVERSLIP_INIT(desc);
    COVERSLIP_INIT(summary);

    if (h->api->runtime_info(runtime, &info, &error) != COVERSLIP_OK) {
        fail(h, "runtime info", &error);
        return false;
    }
    h->features_per_tile = info.features_per_tile;
    printf("bundle %s: %" PRIu32 " px at %.3g um/px, %" PRIu32 " features; %" PRIu32 " lanes\n", info.bundle_name,
           info.side, info.mpp, info.feature_count, info.lanes);

    desc.scanner_id = "example-scanner";
    desc.slide_id = "example-slide";
    desc.color_state = COVERSLIP_COLOR_SRGB;
    desc.mpp_x = specimen_mpp;
    desc.mpp_y = specimen_mpp;
    desc.extent_width = SPECIMEN_WIDTH;
    desc.extent_height = SPECIMEN_HEIGHT;
    desc.max_frame_width = FIELD;
    desc.max_frame_height = FIELD;
    desc.spread_width = SPECIMEN_WIDTH; /* A row of fields leaves a row of tiles half captured. */
    desc.spread_height = FIELD;
    if (h->api->slide_begin(runtime, &desc, &h->slide, &error) != COVERSLIP_OK) {
        fail(h, "begin", &error);
        return false;
    }

    if (!thread_start(&results, take_results, h)) return false; /* Closing the runtime ends the slide. */
    if (!thread_start(&acquisition, acquire, h)) {
        h->api->slide_cancel(h->slide, NULL);
        thread_join(&results);
        return false;
    }
    thread_join(&acquisition);
    thread_join(&results);

    if (h->api->slide_summary(h->slide, &summary, &error) != COVERSLIP_OK) {
        fail(h, "summary", &error);
        return false;
    }
    const bool complete = print_summary(h, &summary);
    if (!complete) fprintf(stderr, "tiles are missing\n");
    if (report_path != NULL) write_report(h, report_path);
    if (h->api->slide_end(h->slide, &error) != COVERSLIP_OK) fail(h, "end", &error);
    h->slide = 0;
    return complete;
}

static void COVERSLIP_CALL log_line(void *user, int32_t level, const char *message) {
    (void)user;
    if (level <= COVERSLIP_LOG_WARN) fprintf(stderr, "coverslip: %s\n", message);
}

int main(int argc, char **argv) {
    host h = {0};
    coverslip_host_info me;
    coverslip_runtime_desc desc;
    coverslip_runtime runtime = 0;
    coverslip_error error;
    COVERSLIP_INIT(me);
    COVERSLIP_INIT(desc);
    COVERSLIP_INIT(error);
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s BUNDLE [REPORT]\n", argv[0]);
        return 2;
    }

    me.abi_major = COVERSLIP_ABI_MAJOR;
    me.abi_minor = COVERSLIP_ABI_MINOR;
    me.name = "07_scanner 1.0";
    me.log = log_line;
    if (coverslip_get_api(&me, &h.api, &error) != COVERSLIP_OK) {
        fprintf(stderr, "this library speaks another contract: %s\n", error.message);
        return 1;
    }
    desc.bundle_path = argv[1];
    if (h.api->runtime_open(&desc, NULL, NULL, &runtime, &error) != COVERSLIP_OK) {
        fail(&h, argv[1], &error);
        return 1;
    }
    const bool complete = scan(&h, runtime, argv[2]);
    if (h.api->runtime_close(runtime, PATIENCE_MS, &error) != COVERSLIP_OK) fail(&h, "close", &error);
    return complete && !atomic_load(&h.failed) ? 0 : 1;
}
