/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The library is loaded by a path that counts from the working folder, which is another one later. The worker is looked
 * for beside the library, not beside the program.
 */
#include "host.h"

#include <limits.h>

int main(int argc, char **argv) {
    char library[PATH_MAX], bundle[PATH_MAX], folder[PATH_MAX];
    CHECK(argc == 3);
    CHECK(realpath(argv[1], library) != NULL && realpath(argv[2], bundle) != NULL);
    char *name = strrchr(library, '/');
    CHECK(name != NULL);
    *name++ = 0;
    CHECK(chdir(library) == 0 && realpath(".", folder) != NULL);
    char relative[PATH_MAX];
    snprintf(relative, sizeof relative, "./%s", name);
    void *module = host_load(relative);
    CHECK(chdir("/") == 0);
    const coverslip_api *api = host_api(module);
    coverslip_runtime_desc desc;
    coverslip_runtime runtime = 0;
    COVERSLIP_INIT(desc);
    desc.bundle_path = bundle;
    desc.engine = COVERSLIP_ENGINE_CPU;
    desc.isolation = COVERSLIP_ISOLATION_ALWAYS;
    const int32_t code = api->runtime_open(&desc, NULL, NULL, &runtime, &host_error);
    /* The worker may not have been built; then it is missed where it would be. */
    if (code == COVERSLIP_OK) host_close(api, runtime);
    else CHECK_OK(strstr(host_error.message, folder) != NULL ? COVERSLIP_OK : code);
    return 0;
}
