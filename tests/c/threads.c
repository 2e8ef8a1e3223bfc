/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Threads and open files: the library has none before runtime_open and none after runtime_close, even if opening
 * fails or slides are open at the close. Of rten, where it runs, one pool stays.
 */
#include "host.h"

static int32_t COVERSLIP_CALL stop(void *user, const coverslip_progress *progress) {
    (void)progress;
    return --*(int *)user < 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const int threads = host_threads().own, files = host_files();
    const coverslip_api *api = host_api(host_load(argv[1]));
    CHECK(host_threads().own == threads && host_threads().pool == 0);

    coverslip_runtime runtime = host_open(api, argv[2]);
    CHECK(host_threads().own > threads);
    const int has_rten = host_has_rten(api, runtime);
    host_run_slide(api, runtime);
    host_close(api, runtime);
    const int pool = host_expect_threads(threads, -1);
    CHECK((pool > 0) == has_rten);
    CHECK(host_files() == files);

    /* Closed during the work. */
    runtime = host_open(api, argv[2]);
    const coverslip_slide slide = host_begin(api, runtime);
    host_scan(api, slide, host_about(api, runtime).side);
    host_close(api, runtime);
    host_expect_threads(threads, pool);
    CHECK(host_files() == files);

    /* Closed directly after opening; not opened, since there is no bundle or the host cancels at the n-th report. */
    host_close(api, host_open(api, argv[2]));
    host_expect_threads(threads, pool);
    coverslip_runtime_desc desc;
    COVERSLIP_INIT(desc);
    desc.bundle_path = "/nowhere";
    CHECK(api->runtime_open(&desc, NULL, NULL, &runtime, NULL) != COVERSLIP_OK);
    desc.bundle_path = argv[2];
    for (int reports = 0; reports < 100; reports++) {
        int left = reports;
        const int32_t code = api->runtime_open(&desc, stop, &left, &runtime, &host_error);
        if (code == COVERSLIP_OK) { /* There are fewer than n reports. */
            CHECK(reports > 0);
            host_close(api, runtime);
            break;
        }
        CHECK(code == COVERSLIP_CANCELLED);
    }
    host_expect_threads(threads, pool);
    CHECK(host_files() == files);
    return 0;
}
