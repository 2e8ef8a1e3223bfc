/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A host for Windows that frees the library while threads run in it, and while a thread of its own that has called it is
 * still there: the library stays mapped, and goes on.
 *
 * Usage: freelibrary LIBRARY BUNDLE
 */
#define COVERSLIP_NO_IMPORT
#include <coverslip/coverslip.h>

#include <process.h>
#include <stdio.h>
#include <string.h>
#include <windows.h>

#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%d: this does not hold: %s\n", __LINE__, #condition);   \
            fprintf(stderr, "the last error: %d, %s\n", (int)error.code, error.message); \
            ExitProcess(1);                                                          \
        }                                                                            \
    } while (0)

static coverslip_error error = {sizeof error, 0, 0, ""};
static const coverslip_api *api;
static coverslip_runtime runtime;

/* Calls the library, waits until it has been freed, and ends: then what the library keeps for a thread is torn down. */
static unsigned __stdcall caller(void *freed) {
    coverslip_runtime_info info;
    COVERSLIP_INIT(info);
    CHECK(api->runtime_info(runtime, &info, &error) == COVERSLIP_OK);
    WaitForSingleObject(freed, INFINITE);
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    /* Before the first call it goes, as any library does. */
    HMODULE module = LoadLibraryA(argv[1]);
    CHECK(module != NULL && FreeLibrary(module));
    CHECK(GetModuleHandleA(argv[1]) == NULL);
    module = LoadLibraryA(argv[1]);
    CHECK(module != NULL);
    const FARPROC entry = GetProcAddress(module, "coverslip_get_api");
    CHECK(entry != NULL);
    coverslip_get_api_fn get_api;
    memcpy(&get_api, &entry, sizeof get_api); /* A cast from one function's type to another's would be warned of. */

    coverslip_host_info host;
    COVERSLIP_INIT(host);
    host.abi_major = COVERSLIP_ABI_MAJOR;
    host.abi_minor = COVERSLIP_ABI_MINOR;
    CHECK(get_api(&host, &api, &error) == COVERSLIP_OK);
    coverslip_runtime_desc desc;
    COVERSLIP_INIT(desc);
    desc.engine = COVERSLIP_ENGINE_CPU;
    desc.bundle_path = argv[2];
    CHECK(api->runtime_open(&desc, NULL, NULL, &runtime, &error) == COVERSLIP_OK);

    const HANDLE freed = CreateEventA(NULL, TRUE, FALSE, NULL);
    const HANDLE thread = (HANDLE)_beginthreadex(NULL, 0, caller, freed, 0, NULL);
    CHECK(freed != NULL && thread != NULL);
    Sleep(100);
    for (int i = 0; i < 3; i++) CHECK(FreeLibrary(module)); /* More often than it was loaded. */
    CHECK(GetModuleHandleA(argv[1]) == module);
    SetEvent(freed);
    CHECK(WaitForSingleObject(thread, 60000) == WAIT_OBJECT_0);

    /* Its threads live, and the table answers. */
    coverslip_runtime_stats stats;
    COVERSLIP_INIT(stats);
    CHECK(api->runtime_stats(runtime, &stats, &error) == COVERSLIP_OK);
    CHECK(api->runtime_close(runtime, 60000, &error) == COVERSLIP_OK);
    puts("the library stays mapped");
    return 0;
}
