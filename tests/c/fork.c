/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Fork: a child made after the first runtime_open is refused by every function at once, whatever the parent's threads
 * were doing, and may exit as any process; the parent's slides go on. A child made before uses the library.
 */
#include "host.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const char *bundle;
static coverslip_get_api_fn entry;
static const coverslip_api *api;
static coverslip_runtime runtime;
static coverslip_slide slide;

#define EXPECT_REFUSED(call) CHECK((call) == COVERSLIP_WRONG_STATE)

/* Every function of the library. A child that waits for something is killed by SIGALRM. */
static void expect_all_refused(void) {
    alarm(20);
    const coverslip_host_info info = host_info();
    const coverslip_api *again = NULL;
    coverslip_runtime_desc desc;
    coverslip_runtime_info about;
    coverslip_runtime_stats stats;
    coverslip_feature_info feature;
    coverslip_slide_desc begin;
    coverslip_slide_summary summary;
    coverslip_result records[2];
    coverslip_result_batch batch;
    coverslip_alert alerts[2];
    coverslip_alert_batch alert_batch;
    coverslip_error error;
    coverslip_frame frame;
    COVERSLIP_INIT(desc), COVERSLIP_INIT(about), COVERSLIP_INIT(stats), COVERSLIP_INIT(feature);
    COVERSLIP_INIT(begin), COVERSLIP_INIT(summary), COVERSLIP_INIT(batch), COVERSLIP_INIT(alert_batch);
    COVERSLIP_INIT(error), COVERSLIP_INIT(frame);
    desc.bundle_path = bundle;
    desc.engine = COVERSLIP_ENGINE_CPU;
    batch.record_size = sizeof *records, batch.records = records, batch.record_capacity = 2;
    alert_batch.record_size = sizeof *alerts, alert_batch.records = alerts, alert_batch.record_capacity = 2;
    coverslip_runtime new_runtime = 0;
    coverslip_slide new_slide = 0;
    EXPECT_REFUSED(entry(&info, &again, &error));
    CHECK(again == NULL && error.code == COVERSLIP_WRONG_STATE && strstr(error.message, "fork()") != NULL);
    EXPECT_REFUSED(api->runtime_open(&desc, NULL, NULL, &new_runtime, &error));
    EXPECT_REFUSED(api->runtime_info(runtime, &about, &error));
    EXPECT_REFUSED(api->feature_info(runtime, 0, &feature, &error));
    EXPECT_REFUSED(api->runtime_stats(runtime, &stats, &error));
    EXPECT_REFUSED(api->runtime_set_budget(runtime, 50, &error));
    EXPECT_REFUSED(api->slide_begin(runtime, &begin, &new_slide, &error));
    EXPECT_REFUSED(api->slide_submit(slide, &frame, &error));
    EXPECT_REFUSED(api->slide_submit_wait(slide, &frame, COVERSLIP_NO_TIMEOUT, &error));
    EXPECT_REFUSED(api->slide_finish(slide, COVERSLIP_NO_TIMEOUT, &error));
    EXPECT_REFUSED(api->slide_cancel(slide, &error));
    EXPECT_REFUSED(api->slide_poll(slide, &batch, &error));
    EXPECT_REFUSED(api->slide_wait(slide, &batch, COVERSLIP_NO_TIMEOUT, &error));
    EXPECT_REFUSED(api->slide_interrupt(slide, &error));
    EXPECT_REFUSED(api->slide_alerts(slide, &alert_batch, &error));
    EXPECT_REFUSED(api->slide_summary(slide, &summary, &error));
    EXPECT_REFUSED(api->slide_report_json(slide, NULL, 0, NULL, &error));
    EXPECT_REFUSED(api->slide_end(slide, &error));
    EXPECT_REFUSED(api->runtime_close(runtime, COVERSLIP_NO_TIMEOUT, &error));
    CHECK(new_runtime == 0 && new_slide == 0);
}

static void expect_success(pid_t child) {
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) fprintf(stderr, "the child ended by signal %d\n", WTERMSIG(status));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void *scan(void *unused) {
    (void)unused;
    host_scan(api, slide, host_about(api, runtime).side);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    bundle = argv[2];
    void *module = host_load(argv[1]);
    entry = host_entry(module);
    api = host_api(module);

    /* Before the first runtime_open: the child is a process like any other, and so is its parent. */
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
        runtime = host_open(api, bundle);
        host_run_slide(api, runtime);
        host_close(api, runtime);
        exit(0);
    }
    expect_success(child);

    runtime = host_open(api, bundle);
    slide = host_begin(api, runtime);
    pthread_t scanner;
    CHECK(pthread_create(&scanner, NULL, scan, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        child = fork();
        if (child == 0) {
            expect_all_refused();
            exit(0); /* With the exit handlers of a host. */
        }
        expect_success(child);
    }
    CHECK(pthread_join(scanner, NULL) == 0);

    /* A child of a child, and one that the C library does not know of. */
    child = fork();
    if (child == 0) {
        child = fork();
        if (child == 0) {
            expect_all_refused();
            exit(0);
        }
        expect_success(child);
        exit(0);
    }
    expect_success(child);
    child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0) {
        expect_all_refused();
        _exit(0);
    }
    expect_success(child);

    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    CHECK(host_drain(api, slide) == TILES_ACROSS * TILES_DOWN);
    CHECK_OK(api->slide_end(slide, &host_error));
    host_close(api, runtime);

    /* Also when nothing is open any more: rten's pool, where it runs, is the parent's. */
    child = fork();
    if (child == 0) {
        expect_all_refused();
        exit(0);
    }
    expect_success(child);
    runtime = host_open(api, bundle);
    host_run_slide(api, runtime);
    host_close(api, runtime);
    return 0;
}
