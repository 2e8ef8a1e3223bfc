/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Clocks that jump. The program stands between the library and the system's clocks. The time of day is never asked for.
 * When the steady clock jumps by an hour and back by two (a virtual machine that was moved, a computer that slept), every
 * tile has one result, what comes afterwards is not late, and nothing waits for the hour to pass.
 */
#include "host.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#define HOUR 3600

static _Atomic int64_t offset_s;      /* Of the steady clock. */
static _Atomic uint64_t asked_of_day; /* By threads of the library. */
static long main_thread;

static long system_call(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#else
#error "this test knows the system calls of x86-64 and arm64"
#endif
}

/* The library finds these before the C library's. */
int clock_gettime(clockid_t clock, struct timespec *time) {
    const long result = system_call(SYS_clock_gettime, clock, (long)time, 0, 0, 0, 0);
    if (result != 0) return -1;
    if (clock == CLOCK_REALTIME && system_call(SYS_gettid, 0, 0, 0, 0, 0, 0) != main_thread) asked_of_day++;
    if (clock == CLOCK_MONOTONIC) time->tv_sec += offset_s;
    return 0;
}

/* A wait until a time of the steady clock: the kernel's has not jumped. As in the C library, six words are taken however
 * many were given, which the address sanitizer would report. */
#if defined(__GNUC__)
__attribute__((no_sanitize("address")))
#endif
long syscall(long number, ...) {
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    struct timespec until;
    if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && a[3] != 0) {
        memcpy(&until, (const void *)a[3], sizeof until);
        until.tv_sec -= offset_s;
        if (until.tv_sec < 0) until.tv_sec = 0;
        a[3] = (long)&until;
    }
    const long result = system_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

static const coverslip_api *api;
static coverslip_slide slide;
static uint8_t *pixels;
static uint32_t side;
static uint64_t frames;

/* A frame of a tile, in a row without end, or of its upper half. */
static void submit(int half) {
    coverslip_frame frame = host_frame(pixels, side, 0);
    frame.x = (int64_t)frames * side;
    frame.frame_id = ++frames;
    frame.capture_time_ns = (int64_t)frames; /* Frames have times: LAGGING is looked for. */
    if (half) frame.height = side / 2;
    CHECK_OK(api->slide_submit_wait(slide, &frame, 60000, &host_error));
}

/* Takes `count` results; the number of those with this status. None took an hour to come unless `late`. */
static uint64_t take(uint64_t count, int32_t status, int late) {
    uint64_t taken = 0, found = 0;
    while (taken < count) {
        coverslip_result records[8];
        coverslip_result_batch batch;
        COVERSLIP_INIT(batch);
        batch.record_size = sizeof *records;
        batch.records = records;
        batch.record_capacity = count - taken < 8 ? (uint32_t)(count - taken) : 8;
        CHECK_OK(api->slide_wait(slide, &batch, 60000, &host_error));
        for (uint32_t i = 0; i < batch.record_count; i++) {
            found += records[i].status == status;
            CHECK(late || records[i].latency_ns < (uint64_t)HOUR / 2 * 1000000000);
        }
        taken += batch.record_count;
    }
    return found;
}

static void expect_timeout(void) {
    coverslip_result record;
    coverslip_result_batch batch;
    COVERSLIP_INIT(batch);
    batch.record_size = sizeof record;
    batch.records = &record;
    batch.record_capacity = 1;
    CHECK(api->slide_wait(slide, &batch, 50, &host_error) == COVERSLIP_TIMEOUT);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    alarm(200); /* What waits for an hour to pass ends here. */
    main_thread = system_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
    api = host_api(host_load(argv[1]));
    const coverslip_runtime runtime = host_open(api, argv[2]);
    const coverslip_runtime_info info = host_about(api, runtime);
    side = info.side;
    pixels = host_pixels(side);
    coverslip_slide_desc desc = host_slide_desc(&info);
    desc.extent_width = desc.extent_height = 0;
    desc.assembly_timeout_ms = desc.result_deadline_ms = HOUR / 2 * 1000;
    CHECK_OK(api->slide_begin(runtime, &desc, &slide, &host_error));
    asked_of_day = 0;

    for (int i = 0; i < 40; i++) submit(0);
    CHECK(take(40, COVERSLIP_TILE_DONE, 0) == 40);
    submit(1);
    expect_timeout(); /* Half a tile waits for the rest. */

    offset_s = HOUR;
    for (int i = 0; i < 40; i++) submit(0);
    /* The half has timed out. Tiles that were on their way when the clock jumped would be late: there were none. */
    CHECK(take(41, COVERSLIP_TILE_DONE, 1) == 41);
    expect_timeout();

    offset_s = -HOUR;
    submit(1);
    for (int i = 0; i < 40; i++) submit(0);
    CHECK(take(40, COVERSLIP_TILE_DONE, 0) == 40);
    expect_timeout();
    offset_s = 0;

    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    CHECK(take(1, COVERSLIP_TILE_DONE, 1) == 1);
    coverslip_slide_summary summary;
    COVERSLIP_INIT(summary);
    CHECK_OK(api->slide_summary(slide, &summary, &host_error));
    CHECK(summary.opened == 122 && summary.results[0] == 122 && summary.unpolled == 0 && summary.alerts == 0);
    CHECK(asked_of_day == 0);
    CHECK_OK(api->slide_end(slide, &host_error));
    host_close(api, runtime);
    free(pixels);
    return 0;
}
