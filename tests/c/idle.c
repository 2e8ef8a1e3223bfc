/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Idle: a thread of the library, and of rten where it runs, wakes only when something comes or is due. Counted are the
 * times that the kernel took each thread off a processor because it waited: a thread that sleeps adds none.
 */
#include "host.h"

#include <sys/syscall.h>

/* The sum over all threads but this one. */
static uint64_t waits(void) {
    uint64_t sum = 0;
    int threads = 0;
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[300], line[200];
        if (entry->d_name[0] == '.' || atol(entry->d_name) == syscall(SYS_gettid)) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) continue;
        while (fgets(line, sizeof line, file) != NULL) {
            uint64_t count = 0;
            if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &count) == 1) sum += count, threads++;
        }
        fclose(file);
    }
    closedir(dir);
    CHECK(threads > 2);
    return sum;
}

static uint64_t wake_ups(const coverslip_api *api, coverslip_runtime runtime) {
    coverslip_runtime_stats stats;
    COVERSLIP_INIT(stats);
    CHECK_OK(api->runtime_stats(runtime, &stats, &host_error));
    return stats.wake_ups;
}

/*
 * Waits until what was begun has ended, then looks for two quiet seconds. What ends late spoils a look or two; what
 * wakes again and again spoils each.
 */
static void expect_idle(const char *what, const coverslip_api *api, coverslip_runtime runtime) {
    uint64_t before = waits(), after = before;
    for (int i = 0; i < 100; i++) {
        host_sleep_ms(100);
        before = after;
        after = waits();
        if (i > 1 && before == after) break;
    }
    int quiet = 0;
    for (int i = 0; i < 5 && !quiet; i++) {
        const uint64_t counted = wake_ups(api, runtime);
        before = waits();
        host_sleep_ms(2000);
        after = waits();
        const uint64_t woken = wake_ups(api, runtime) - counted;
        quiet = before == after && woken == 0;
        if (quiet) continue;
        fprintf(stderr, "%s: in two seconds %" PRIu64 " waits become %" PRIu64 ", and %" PRIu64 " wake-ups\n", what,
                before, after, woken);
    }
    CHECK(quiet);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const coverslip_api *api = host_api(host_load(argv[1]));
    const coverslip_runtime runtime = host_open(api, argv[2]);
    const coverslip_runtime_info info = host_about(api, runtime);
    CHECK((host_threads().pool > 0) == host_has_rten(api, runtime));
    expect_idle("an open runtime", api, runtime);

    host_run_slide(api, runtime);
    CHECK(wake_ups(api, runtime) > 0);
    expect_idle("a runtime whose slide has ended", api, runtime);

    coverslip_slide slide = host_begin(api, runtime);
    expect_idle("an open slide", api, runtime);
    host_scan(api, slide, info.side);
    expect_idle("a slide whose tiles are done", api, runtime);
    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    expect_idle("a finished slide whose results nobody takes", api, runtime);
    CHECK_OK(api->slide_end(slide, &host_error));

    /* Half a tile waits for the rest, and its timeout is far. */
    coverslip_slide_desc desc = host_slide_desc(&info);
    desc.assembly_timeout_ms = desc.result_deadline_ms = 600000;
    CHECK_OK(api->slide_begin(runtime, &desc, &slide, &host_error));
    host_scan(api, slide, info.side);
    uint8_t *pixels = host_pixels(info.side);
    coverslip_frame half = host_frame(pixels, info.side, 0);
    half.pass = 1;
    half.height = info.side / 2;
    CHECK_OK(api->slide_submit(slide, &half, &host_error));
    expect_idle("a slide with half a tile", api, runtime);
    CHECK_OK(api->slide_end(slide, &host_error));
    expect_idle("a slide that was ended early", api, runtime);
    free(pixels);
    host_close(api, runtime);
    return 0;
}
