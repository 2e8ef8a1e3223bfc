/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * All calls of a host, including many that fail, without a log callback. The caller of this program checks that nothing
 * was written to stdout or stderr. A second pass has a log callback and checks that it gets the messages.
 */
#include "host.h"

#include <stdatomic.h>

static atomic_int lines;

static void COVERSLIP_CALL count(void *user, int32_t level, const char *message) {
    CHECK(user == (void *)&lines && level >= COVERSLIP_LOG_ERROR && level <= COVERSLIP_LOG_DEBUG);
    CHECK(message != NULL && message[0] != '\0');
    atomic_fetch_add(&lines, 1);
}

static void fail_in_every_way(const coverslip_api *api, const char *bundle) {
    coverslip_runtime_desc desc;
    coverslip_runtime runtime = 0;
    COVERSLIP_INIT(desc);
    CHECK(api->runtime_open(&desc, NULL, NULL, &runtime, NULL) == COVERSLIP_INVALID_ARGUMENT);
    desc.bundle_path = "/nowhere/at/all";
    CHECK(api->runtime_open(&desc, NULL, NULL, &runtime, NULL) != COVERSLIP_OK);
    desc.bundle_path = "/proc"; /* A folder that is not a bundle. */
    CHECK(api->runtime_open(&desc, NULL, NULL, &runtime, NULL) != COVERSLIP_OK);
    desc.bundle_path = bundle;
    desc.engine = COVERSLIP_ENGINE_TENSORRT;
    CHECK(api->runtime_open(&desc, NULL, NULL, &runtime, NULL) == COVERSLIP_ENGINE_UNAVAILABLE);
    desc.engine = 77;
    CHECK(api->runtime_open(&desc, NULL, NULL, &runtime, NULL) == COVERSLIP_INVALID_ARGUMENT);
    CHECK(runtime == 0);
    CHECK(api->runtime_close(1, 0, NULL) == COVERSLIP_INVALID_HANDLE);
    CHECK(api->slide_submit(1, NULL, NULL) != COVERSLIP_OK);
    CHECK(api->slide_poll(1, NULL, NULL) != COVERSLIP_OK);
}

static void use(const coverslip_api *api, const char *bundle) {
    fail_in_every_way(api, bundle);
    const coverslip_runtime runtime = host_open(api, bundle);
    host_run_slide(api, runtime);
    const coverslip_slide slide = host_begin(api, runtime);
    host_scan(api, slide, host_about(api, runtime).side);
    CHECK_OK(api->slide_cancel(slide, &host_error));
    host_close(api, runtime);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    void *module = host_load(argv[1]);
    use(host_api(module), argv[2]);

    coverslip_host_info info = host_info();
    const coverslip_api *api = NULL;
    info.log = count;
    info.log_user = &lines;
    CHECK_OK(host_entry(module)(&info, &api, &host_error));
    use(api, argv[2]);
    CHECK(atomic_load(&lines) > 0);
    return 0;
}
