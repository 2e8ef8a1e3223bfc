/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Extra, missing and nested calls, calls after the end, and wrong handles: each returns its code.
 */
#include "host.h"

static void on_a_stale_slide(const coverslip_api *api, coverslip_slide slide) {
    coverslip_result_batch results;
    coverslip_alert_batch alerts;
    coverslip_slide_summary summary;
    uint8_t pixels[3 * 4] = {0};
    coverslip_frame frame = host_frame(pixels, 2, 0);
    COVERSLIP_INIT(results);
    COVERSLIP_INIT(alerts);
    COVERSLIP_INIT(summary);
    results.record_size = sizeof(coverslip_result);
    alerts.record_size = sizeof(coverslip_alert);
    CHECK(api->slide_submit(slide, &frame, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_submit_wait(slide, &frame, COVERSLIP_NO_TIMEOUT, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_finish(slide, COVERSLIP_NO_TIMEOUT, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_cancel(slide, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_poll(slide, &results, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_wait(slide, &results, COVERSLIP_NO_TIMEOUT, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_interrupt(slide, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_alerts(slide, &alerts, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_summary(slide, &summary, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_end(slide, NULL) == COVERSLIP_INVALID_HANDLE);
}

static void on_a_stale_runtime(const coverslip_api *api, coverslip_runtime runtime, const coverslip_slide_desc *desc) {
    coverslip_runtime_info info;
    coverslip_runtime_stats stats;
    coverslip_feature_info feature;
    coverslip_slide slide = 99;
    COVERSLIP_INIT(info);
    COVERSLIP_INIT(stats);
    COVERSLIP_INIT(feature);
    CHECK(api->runtime_info(runtime, &info, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->feature_info(runtime, 0, &feature, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->runtime_stats(runtime, &stats, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->runtime_set_budget(runtime, 50, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_begin(runtime, desc, &slide, NULL) == COVERSLIP_INVALID_HANDLE && slide == 99);
    CHECK(api->runtime_close(runtime, 0, NULL) == COVERSLIP_INVALID_HANDLE);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    /* Two hosts in one process load the library twice and get the same table. */
    void *module = host_load(argv[1]), *again = host_load(argv[1]);
    const coverslip_api *api = host_api(module);
    CHECK(host_api(again) == api && host_api(module) == api);
    CHECK(dlclose(again) == 0);

    /* Two runtimes side by side. */
    const coverslip_runtime first = host_open(api, argv[2]), second = host_open(api, argv[2]);
    CHECK(first != second);
    const coverslip_runtime_info info = host_about(api, first);
    const coverslip_slide_desc desc = host_slide_desc(&info);
    const coverslip_slide of_first = host_begin(api, first), of_second = host_begin(api, second);
    host_scan(api, of_first, info.side);

    /* A runtime's handle is not a slide's, a slide's is not a runtime's, and garbage is neither. */
    const uint64_t garbage[] = {0, UINT64_MAX, 1, 0x100000000u, of_first + 1, of_first ^ 0x8000000000000000u};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        if (garbage[i] == of_second || garbage[i] == second) continue;
        on_a_stale_slide(api, garbage[i]);
        if (garbage[i] != first) on_a_stale_runtime(api, garbage[i], &desc);
    }

    /* Closing the first runtime ends its slide and does not affect the second. */
    host_close(api, first);
    on_a_stale_runtime(api, first, &desc);
    on_a_stale_slide(api, of_first);
    host_scan(api, of_second, info.side);
    CHECK_OK(api->slide_finish(of_second, 60000, &host_error));
    CHECK(host_drain(api, of_second) == TILES_ACROSS * TILES_DOWN);

    /* No results follow their end, and no frames finish; finish and cancel may be repeated. */
    uint8_t *pixels = host_pixels(info.side);
    const coverslip_frame frame = host_frame(pixels, info.side, 0);
    CHECK(api->slide_submit(of_second, &frame, NULL) == COVERSLIP_WRONG_STATE);
    CHECK(api->slide_submit_wait(of_second, &frame, 0, NULL) == COVERSLIP_WRONG_STATE);
    CHECK_OK(api->slide_finish(of_second, 0, &host_error));
    CHECK_OK(api->slide_cancel(of_second, &host_error));
    CHECK_OK(api->slide_cancel(of_second, &host_error));
    CHECK(host_drain(api, of_second) == 0);
    CHECK_OK(api->slide_end(of_second, &host_error));
    on_a_stale_slide(api, of_second);

    /* The old handle does not refer to a new slide in the same place. */
    const coverslip_slide next = host_begin(api, second);
    CHECK(next != of_second);
    on_a_stale_slide(api, of_second);
    CHECK_OK(api->slide_cancel(next, &host_error));
    CHECK(api->slide_submit(next, &frame, NULL) == COVERSLIP_WRONG_STATE);
    CHECK(host_drain(api, next) == 0);
    CHECK_OK(api->slide_end(next, &host_error));

    /* An interrupt without a waiter is kept for the next wait. */
    const coverslip_slide waiting = host_begin(api, second);
    coverslip_result record;
    coverslip_result_batch batch;
    COVERSLIP_INIT(batch);
    batch.record_size = sizeof record;
    batch.records = &record;
    batch.record_capacity = 1;
    CHECK_OK(api->slide_interrupt(waiting, &host_error));
    CHECK(api->slide_wait(waiting, &batch, 60000, NULL) == COVERSLIP_INTERRUPTED);
    CHECK(api->slide_wait(waiting, &batch, 1, NULL) == COVERSLIP_TIMEOUT);
    free(pixels);

    /* More slides than the default allows are refused; the close ends slides without slide_end. */
    coverslip_slide slide = 0;
    int32_t code = COVERSLIP_OK;
    for (int open = 1; code == COVERSLIP_OK; open++) {
        code = api->slide_begin(second, &desc, &slide, &host_error);
        CHECK((code == COVERSLIP_OK) == (open < 4));
    }
    CHECK(code == COVERSLIP_LIMIT_REACHED);
    CHECK(api->runtime_set_budget(second, 0, NULL) == COVERSLIP_INVALID_ARGUMENT);
    CHECK(api->runtime_set_budget(second, 101, NULL) == COVERSLIP_INVALID_ARGUMENT);
    coverslip_feature_info feature;
    COVERSLIP_INIT(feature);
    CHECK(api->feature_info(second, info.feature_count, &feature, NULL) == COVERSLIP_INVALID_ARGUMENT);
    CHECK_OK(api->feature_info(second, info.feature_count - 1, &feature, &host_error));
    CHECK(feature.index == info.feature_count - 1);
    host_close(api, second);
    on_a_stale_slide(api, waiting);
    CHECK(dlclose(module) == 0);
    return 0;
}
