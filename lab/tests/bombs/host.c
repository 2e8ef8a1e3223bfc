/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A host that opens a runtime and says what came of it: LIBRARY BUNDLE [PROFILE]. It lives to print the code.
 */
#include <coverslip/coverslip.h>

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int main(int count, char **arguments) {
    coverslip_get_api_fn entry = NULL;
    const coverslip_api *api = NULL;
    coverslip_host_info info;
    coverslip_runtime_desc desc;
    coverslip_runtime runtime = 0;
    coverslip_error error;
    void *module = count > 2 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    void *address = module != NULL ? dlsym(module, "coverslip_get_api") : NULL;
    int32_t code;
    if (address == NULL) return 2;
    memcpy(&entry, &address, sizeof entry);
    COVERSLIP_INIT(info);
    COVERSLIP_INIT(desc);
    COVERSLIP_INIT(error);
    info.abi_major = COVERSLIP_ABI_MAJOR;
    info.abi_minor = COVERSLIP_ABI_MINOR;
    info.name = "bombs";
    if (entry(&info, &api, &error) != COVERSLIP_OK) return 3;
    desc.bundle_path = arguments[2];
    desc.profile_path = count > 3 ? arguments[3] : NULL;
    desc.engine = COVERSLIP_ENGINE_CPU;
    code = api->runtime_open(&desc, NULL, NULL, &runtime, &error);
    printf("%" PRId32 " %s\n", code, code == COVERSLIP_OK ? "" : error.message);
    if (code == COVERSLIP_OK) code = api->runtime_close(runtime, 60000, &error);
    puts("alive");
    return 0;
}
