/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A runtime is opened by a thread of real time, as acquisition has them. The library's threads are ordinary ones: they
 * would take the processors from acquisition otherwise.
 */
#include "host.h"

#include <pthread.h>
#include <sched.h>

/* Threads of real time, of those that are not the caller. */
static int of_real_time(void) {
    DIR *tasks = opendir("/proc/self/task");
    int found = 0;
    CHECK(tasks != NULL);
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        const int id = atoi(task->d_name);
        if (id <= 0 || id == getpid()) continue;
        const int policy = sched_getscheduler(id);
        found += policy == SCHED_FIFO || policy == SCHED_RR;
    }
    closedir(tasks);
    return found;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const struct sched_param urgent = {.sched_priority = 20}, ordinary = {.sched_priority = 0};
    if (sched_setscheduler(0, SCHED_FIFO, &urgent) != 0) {
        printf("left out: this process may not have threads of real time\n");
        return 0;
    }
    const coverslip_api *api = host_api(host_load(argv[1]));
    const coverslip_runtime runtime = host_open(api, argv[2]);
    const int rten = host_has_rten(api, runtime);
    host_run_slide(api, runtime);
    CHECK(of_real_time() == 0);
    CHECK(sched_getscheduler(0) == SCHED_FIFO);
    host_close(api, runtime);

    /* At the host's priority, where it asks for that. */
    coverslip_runtime_desc desc;
    coverslip_runtime second = 0;
    COVERSLIP_INIT(desc);
    desc.bundle_path = argv[2];
    desc.engine = COVERSLIP_ENGINE_CPU;
    desc.flags = COVERSLIP_RUNTIME_NORMAL_PRIORITY;
    CHECK_OK(api->runtime_open(&desc, NULL, NULL, &second, &host_error));
    CHECK(of_real_time() > 0 || rten);
    host_close(api, second);
    CHECK(sched_setscheduler(0, SCHED_OTHER, &ordinary) == 0);
    return 0;
}
