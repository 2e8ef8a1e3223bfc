/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A thread calls the library, the library is closed, and only then the thread ends. The library's code destroys the
 * thread-local state, so it must still be mapped.
 */
#include "host.h"

#include <pthread.h>
#include <semaphore.h>

static sem_t worked, unloaded;
static const char *library, *bundle;
static void *module;
static const coverslip_api *api;

static void *work(void *whole) {
    module = host_load(library);
    api = host_api(module);
    if (whole != NULL) {
        const coverslip_runtime runtime = host_open(api, bundle);
        host_run_slide(api, runtime);
        host_close(api, runtime);
    } else {
        /* The short variant: this thread causes only errors. */
        coverslip_runtime_info info;
        COVERSLIP_INIT(info);
        CHECK(api->runtime_info(12345, &info, NULL) == COVERSLIP_INVALID_HANDLE);
    }
    sem_post(&worked);
    sem_wait(&unloaded);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    library = argv[1];
    bundle = argv[2];
    sem_init(&worked, 0, 0);
    sem_init(&unloaded, 0, 0);
    for (int round = 0; round < 4; round++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, work, round % 2 == 0 ? NULL : argv) == 0);
        sem_wait(&worked);
        CHECK(dlclose(module) == 0);
        /* The table stays valid until the process ends. */
        CHECK(api->abi_major == COVERSLIP_ABI_MAJOR && api->get_extension("coverslip.none/1") == NULL);
        sem_post(&unloaded);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    return 0;
}
