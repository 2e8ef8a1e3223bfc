/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Hosts of other versions of the contract: a compatible host gets the table, an incompatible one a message.
 */
#include "host.h"

static const coverslip_api *const untouched = (const coverslip_api *)0x5A5A;

static void refused(coverslip_get_api_fn get_api, coverslip_host_info info, const char *host_version) {
    const coverslip_api *api = untouched;
    coverslip_error error;
    COVERSLIP_INIT(error);
    CHECK(get_api(&info, &api, &error) == COVERSLIP_ABI_MISMATCH);
    CHECK(error.code == COVERSLIP_ABI_MISMATCH && api == untouched);
    /* The message names both versions. */
    if (strstr(error.message, host_version) == NULL) fprintf(stderr, "%s\n", error.message);
    CHECK(strstr(error.message, host_version) != NULL && strstr(error.message, "1.1") != NULL);
    /* Without an error struct the code alone comes. */
    CHECK(get_api(&info, &api, NULL) == COVERSLIP_ABI_MISMATCH && api == untouched);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const coverslip_get_api_fn get_api = host_entry(host_load(argv[1]));
    const coverslip_api *api = untouched;
    coverslip_host_info info = host_info();

    info.abi_major = 2;
    refused(get_api, info, "2.1");
    info.abi_major = 0;
    refused(get_api, info, "0.1");
    info = host_info();
    info.abi_minor_min = info.abi_minor = 7;
    refused(get_api, info, "1.7");

    /* A newer host that needs no more than this version fits, and gets a table that states its version. */
    info = host_info();
    info.abi_minor = 7;
    CHECK_OK(get_api(&info, &api, &host_error));
    CHECK(api->abi_major == 1 && api->abi_minor == 1 && api->struct_size == sizeof(coverslip_api));
    CHECK(api->get_extension("coverslip.none/1") == NULL && api->get_extension("") == NULL);
    CHECK(api->get_extension(NULL) == NULL);

    /* Hosts of each version so far, and one that needs the newest. */
    for (uint32_t minor = 0; minor <= COVERSLIP_ABI_MINOR; minor++) {
        info = host_info();
        info.abi_minor = minor;
        CHECK_OK(get_api(&info, &api, &host_error));
        info.abi_minor_min = minor;
        CHECK_OK(get_api(&info, &api, &host_error));
    }

    /* What cannot be a host at all. */
    api = untouched;
    CHECK(get_api(NULL, &api, NULL) == COVERSLIP_INVALID_ARGUMENT && api == untouched);
    info = host_info();
    CHECK(get_api(&info, NULL, NULL) == COVERSLIP_INVALID_ARGUMENT);
    info.struct_size = 0;
    CHECK(get_api(&info, &api, NULL) == COVERSLIP_INVALID_STRUCT && api == untouched);
    /* A reversed range: the host needs more than it was compiled for. */
    info = host_info();
    info.abi_minor = 0;
    info.abi_minor_min = 1;
    CHECK(get_api(&info, &api, NULL) != COVERSLIP_OK && api == untouched);
    info = host_info();
    info.abi_minor_min = COVERSLIP_ABI_MINOR + 1;
    CHECK(get_api(&info, &api, NULL) != COVERSLIP_OK && api == untouched);
    return 0;
}
