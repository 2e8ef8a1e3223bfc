/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * host_aravis.c — a slide from any GenICam camera, through Aravis. See README.md.
 *
 * Aravis speaks PFNC as coverslip.h does: the code of a buffer is the code of its frame. What this program shows is what
 * a host must decide: where a frame is, when it was captured, and what becomes of one that did not come whole.
 */
#include <arv.h>
#include <coverslip/coverslip.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Buffers between the camera and this program. */
#define BUFFERS 16
/** How long a frame may take to come, microseconds. */
#define PATIENCE_US 5000000u
#define PATIENCE_MS 60000u
/** Buffers that are no fields, until the camera is given up. */
#define MOST_FOREIGN 100

static coverslip_error error = {sizeof error, 0, 0, ""};

static void give_up(const char *what, const char *why) {
    fprintf(stderr, "host_aravis: %s: %s\n", what, why);
    exit(1);
}

static void expect(int32_t code, const char *what) {
    if (code != COVERSLIP_OK) give_up(what, error.message);
}

static void expect_camera(GError *failure, const char *what) {
    if (failure != NULL) give_up(what, failure->message);
}

/** The stage: fields side by side, row by row. */
typedef struct stage {
    uint32_t columns, rows;
    uint32_t width, height; /* of a field, pixels */
} stage;

static void stage_position(const stage *s, uint32_t field, coverslip_frame *frame) {
    frame->x = (int64_t)(field % s->columns) * s->width;
    frame->y = (int64_t)(field / s->columns) * s->height;
    frame->group_id = 1 + field / s->columns;
}

/** What the camera delivered, in the end. */
typedef struct counts {
    uint64_t whole, incomplete, foreign;
} counts;

/** Bytes of a row, from those of a pixel that the PFNC code states. */
static uint64_t row_bytes(ArvPixelFormat format, uint32_t width) {
    return ((uint64_t)ARV_PIXEL_FORMAT_BIT_PER_PIXEL(format) * width + 7) / 8;
}

/** Gives one buffer to the slide. One that is not whole goes with a mask of zeros: nothing of it was captured. */
static void submit(const coverslip_api *api, coverslip_slide slide, const stage *s, ArvBuffer *buffer, uint32_t field,
                   ArvPixelFormat format, const uint8_t *nothing, counts *seen) {
    bool whole = arv_buffer_get_status(buffer) == ARV_BUFFER_STATUS_SUCCESS;
    size_t size = 0;
    coverslip_frame frame;
    COVERSLIP_INIT(frame);
    stage_position(s, field, &frame);
    frame.frame_id = arv_buffer_get_frame_id(buffer) + 1;
    frame.capture_time_ns = (int64_t)arv_buffer_get_system_timestamp(buffer);
    frame.width = s->width;
    frame.height = s->height;
    frame.plane_count = 1;
    frame.pixel_format = whole ? arv_buffer_get_image_pixel_format(buffer) : format;
    frame.planes[0].data = arv_buffer_get_data(buffer, &size);
    frame.planes[0].stride = row_bytes(frame.pixel_format, frame.width);
    /* Of a buffer that is not whole Aravis states what was received; its memory is that of a frame all the same. */
    frame.planes[0].size = whole ? size : frame.planes[0].stride * frame.height;
    if (whole) {
        seen->whole++;
    } else {
        seen->incomplete++;
        frame.mask.data = nothing;
        frame.mask.stride = frame.width;
        frame.mask.size = (uint64_t)frame.width * frame.height;
        frame.mask_format = COVERSLIP_MASK_BYTES;
    }
    expect(api->slide_submit_wait(slide, &frame, PATIENCE_MS, &error), "a frame");
}

/** Takes the results that are there; counts them by status. */
static void take(const coverslip_api *api, coverslip_slide slide, uint64_t results[8]) {
    static coverslip_result records[64];
    coverslip_result_batch batch;
    for (;;) {
        COVERSLIP_INIT(batch);
        batch.record_size = sizeof records[0];
        batch.records = records;
        batch.record_capacity = 64;
        int32_t code = api->slide_poll(slide, &batch, &error);
        if (code == COVERSLIP_END_OF_RESULTS) return;
        expect(code, "slide_poll");
        if (batch.record_count == 0) return;
        for (uint32_t i = 0; i < batch.record_count; i++) {
            results[records[i].status]++;
            results[0]++;
        }
    }
}

/** Whether a buffer is a field of the slide, whole or not. One that is not whole says nothing of what it holds. */
static bool is_field(ArvBuffer *buffer, const stage *s) {
    switch (arv_buffer_get_status(buffer)) {
    case ARV_BUFFER_STATUS_SUCCESS:
        return arv_buffer_get_payload_type(buffer) == ARV_BUFFER_PAYLOAD_TYPE_IMAGE &&
               arv_buffer_get_image_width(buffer) == (gint)s->width &&
               arv_buffer_get_image_height(buffer) == (gint)s->height;
    case ARV_BUFFER_STATUS_MISSING_PACKETS:
    case ARV_BUFFER_STATUS_TIMEOUT:
    case ARV_BUFFER_STATUS_WRONG_PACKET_ID:
    case ARV_BUFFER_STATUS_SIZE_MISMATCH:
        return true;
    default:
        return false;
    }
}

static void acquire(const coverslip_api *api, coverslip_slide slide, const stage *s, ArvStream *stream,
                    ArvPixelFormat format, counts *seen, uint64_t results[8]) {
    uint8_t *nothing = calloc((size_t)s->width * s->height, 1);
    if (nothing == NULL) give_up("a mask", "no memory");
    for (uint32_t field = 0; field < s->columns * s->rows;) {
        ArvBuffer *buffer = arv_stream_timeout_pop_buffer(stream, PATIENCE_US);
        if (buffer == NULL) give_up("the camera", "no buffer came within 5 s");
        if (is_field(buffer, s)) {
            submit(api, slide, s, buffer, field, format, nothing, seen);
            field++; /* the stage goes on, whether the frame came whole or not */
        } else if (++seen->foreign == MOST_FOREIGN) {
            give_up("the camera", "its buffers are not those of the slide");
        }
        arv_stream_push_buffer(stream, buffer);
        take(api, slide, results);
    }
    free(nothing);
}

/** Sets up the camera; the stage's field becomes the camera's. */
static ArvStream *start(ArvCamera *camera, const char *format, stage *s, ArvPixelFormat *code) {
    GError *failure = NULL;
    gint x, y, width, height;
    arv_camera_set_pixel_format_from_string(camera, format, &failure);
    expect_camera(failure, "the pixel format");
    *code = arv_camera_get_pixel_format(camera, &failure);
    expect_camera(failure, "the pixel format's code");
    arv_camera_get_region(camera, &x, &y, &width, &height, &failure);
    expect_camera(failure, "the region");
    s->width = (uint32_t)width;
    s->height = (uint32_t)height;
    guint payload = arv_camera_get_payload(camera, &failure);
    expect_camera(failure, "the size of a frame");
    ArvStream *stream = arv_camera_create_stream(camera, NULL, NULL, &failure);
    expect_camera(failure, "the stream");
    /* A resend of the fake camera never comes late; a lost packet stays lost, as on a network that is too slow. */
    if (ARV_IS_GV_STREAM(stream))
        g_object_set(stream, "packet-resend", ARV_GV_STREAM_PACKET_RESEND_NEVER, "frame-retention", 100000,
                     "socket-buffer", ARV_GV_STREAM_SOCKET_BUFFER_FIXED, "socket-buffer-size", 1 << 24, NULL);
    for (int i = 0; i < BUFFERS; i++) arv_stream_push_buffer(stream, arv_buffer_new_allocate(payload));
    arv_camera_start_acquisition(camera, &failure);
    expect_camera(failure, "the acquisition");
    return stream;
}

static coverslip_slide begin(const coverslip_api *api, coverslip_runtime runtime, const stage *s) {
    coverslip_slide slide = 0;
    coverslip_slide_desc desc;
    COVERSLIP_INIT(desc);
    desc.scanner_id = "aravis";
    desc.slide_id = "fake";
    desc.mpp_x = desc.mpp_y = 0.5;
    desc.extent_width = (uint64_t)s->columns * s->width;
    desc.extent_height = (uint64_t)s->rows * s->height;
    desc.max_frame_width = s->width;
    desc.max_frame_height = s->height;
    desc.spread_width = desc.extent_width;
    desc.spread_height = s->height;
    expect(api->slide_begin(runtime, &desc, &slide, &error), "slide_begin");
    return slide;
}

/** Whether what was counted here is what the library counted. */
static bool adds_up(const coverslip_slide_summary *sum, const counts *seen, const stage *s, const uint64_t results[8]) {
    uint64_t field = (uint64_t)s->width * s->height;
    uint64_t pixels = sum->pixels_used + sum->pixels_duplicate + sum->pixels_late + sum->pixels_outside;
    return sum->frames_accepted == seen->whole + seen->incomplete && sum->frames_refused == 0 &&
           pixels == seen->whole * field && sum->pixels_not_scanned == seen->incomplete * field &&
           sum->opened == results[0] && sum->results[0] == results[0] && sum->in_flight == 0;
}

int main(int argc, char **argv) {
    bool lossy = argc == 7 && strcmp(argv[6], "--lossy") == 0;
    if (argc != 6 && !lossy) {
        fprintf(stderr, "usage: %s BUNDLE CAMERA FORMAT COLUMNS ROWS [--lossy]\n", argv[0]);
        return 2;
    }
    stage s = {(uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]), 0, 0};
    GError *failure = NULL;
    ArvCamera *camera = arv_camera_new(argv[2], &failure);
    expect_camera(failure, argv[2]);

    const coverslip_api *api = NULL;
    coverslip_host_info host;
    COVERSLIP_INIT(host);
    host.abi_major = COVERSLIP_ABI_MAJOR;
    host.abi_minor_min = host.abi_minor = 1; /* cameras' formats and masks are of 1.1 */
    host.name = "host_aravis";
    expect(coverslip_get_api(&host, &api, &error), "coverslip_get_api");
    coverslip_runtime runtime = 0;
    coverslip_runtime_desc desc;
    COVERSLIP_INIT(desc);
    desc.engine = COVERSLIP_ENGINE_CPU;
    desc.bundle_path = argv[1];
    expect(api->runtime_open(&desc, NULL, NULL, &runtime, &error), "runtime_open");

    ArvPixelFormat code = 0;
    ArvStream *stream = start(camera, argv[3], &s, &code);
    coverslip_slide slide = begin(api, runtime, &s);
    counts seen = {0, 0, 0};
    uint64_t results[8] = {0};
    acquire(api, slide, &s, stream, code, &seen, results);
    arv_camera_stop_acquisition(camera, NULL);
    expect(api->slide_finish(slide, PATIENCE_MS, &error), "slide_finish");
    take(api, slide, results);

    coverslip_slide_summary sum;
    COVERSLIP_INIT(sum);
    expect(api->slide_summary(slide, &sum, &error), "slide_summary");
    printf("%s (%#010x): %" PRIu64 " frames whole, %" PRIu64 " incomplete, %" PRIu64 " foreign; %" PRIu64
           " pixels used, %" PRIu64 " not scanned; %" PRIu64 " results, %" PRIu64 " of them incomplete\n",
           argv[3], code, seen.whole, seen.incomplete, seen.foreign, sum.pixels_used, sum.pixels_not_scanned, results[0],
           results[COVERSLIP_TILE_INCOMPLETE]);
    bool sound = adds_up(&sum, &seen, &s, results) && seen.whole > 0 && (!lossy || seen.incomplete > 0);
    if (!sound) fprintf(stderr, "the counts do not add up\n");

    expect(api->slide_end(slide, &error), "slide_end");
    expect(api->runtime_close(runtime, PATIENCE_MS, &error), "runtime_close");
    g_object_unref(stream);
    g_object_unref(camera);
    return sound ? 0 : 1;
}
