/* A program without any C runtime, for a linker that speaks as MSVC's: it asks the library for its table. */
#include <coverslip/coverslip.h>

void __main(void);
void __main(void) {}

int start(void);
int start(void) {
    static coverslip_host_info host;
    static coverslip_error error;
    const coverslip_api *api = 0;
    host.struct_size = sizeof host;
    host.abi_major = COVERSLIP_ABI_MAJOR;
    host.abi_minor = COVERSLIP_ABI_MINOR;
    error.struct_size = sizeof error;
    return coverslip_get_api(&host, &api, &error) == COVERSLIP_OK && api->abi_major == COVERSLIP_ABI_MAJOR ? 0 : 1;
}
