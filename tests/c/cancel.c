/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A thread is cancelled while it is in a call, as a host that shuts down does. The call returns as it would have, and
 * the thread ends at the host's own next point where it may be.
 */
#include "host.h"

#include <pthread.h>
#include <semaphore.h>

static const coverslip_api *api;
static const char *bundle;
static sem_t entered;
static coverslip_runtime opened;
static int returned;

static int32_t progress(void *user, const coverslip_progress *news) {
    (void)user, (void)news;
    sem_post(&entered);
    /* A point where a thread may be cancelled, within the call. */
    host_sleep_ms(1);
    return 0;
}

static void *open_one(void *unused) {
    coverslip_runtime_desc desc;
    COVERSLIP_INIT(desc);
    desc.bundle_path = bundle;
    desc.engine = COVERSLIP_ENGINE_CPU;
    CHECK_OK(api->runtime_open(&desc, progress, NULL, &opened, &host_error));
    returned = 1;
    pthread_testcancel();
    CHECK(!"a thread that was cancelled goes on");
    return unused;
}

static void *close_one(void *unused) {
    sem_post(&entered);
    CHECK_OK(api->runtime_close(opened, 10000, &host_error));
    returned = 2;
    pthread_testcancel();
    CHECK(!"a thread that was cancelled goes on");
    return unused;
}

static void cancelled(void *(*body)(void *)) {
    pthread_t thread;
    void *value = NULL;
    CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
    sem_wait(&entered);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &value) == 0);
    CHECK(value == PTHREAD_CANCELED);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    bundle = argv[2];
    api = host_api(host_load(argv[1]));
    sem_init(&entered, 0, 0);
    cancelled(open_one);
    CHECK(returned == 1);
    host_run_slide(api, opened);
    while (sem_trywait(&entered) == 0) {}
    cancelled(close_one);
    CHECK(returned == 2);
    return 0;
}
