// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Tests coverslip.hpp with a function table that records each call. The exit code is 0 if all checks hold.
#include <coverslip/coverslip.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using coverslip::Code;
using namespace std::chrono_literals;

std::vector<std::string> calls;      // Calls of the table, in order.
coverslip_log_fn log_function;       // Of the host that requested the table last.
void *log_user;
std::int32_t next_code;              // What the next submit, wait or close returns.
std::uint32_t asked_timeout;
std::uint32_t alerts_left;
std::string opened_with;             // The fields of 1.1 of the last runtime_open.
coverslip_slide_desc begun_with;     // The last slide_begin's; its pointers are stale.
std::uint8_t last_tone;

void expect(bool holds, const char *what, int line) {
    if (holds) return;
    std::fprintf(stderr, "wrapper.cpp:%d: %s\n", line, what);
    std::exit(1);
}
#define EXPECT(condition) expect((condition), #condition, __LINE__)

template <class Call> Code thrown_by(Call call) {
    try {
        call();
    } catch (const coverslip::Error &error) {
        return error.code();
    }
    return Code::Ok;
}

std::int32_t fail(coverslip_error *error, std::int32_t code, const char *message) {
    if (error != nullptr) {
        error->code = code;
        error->native_code = 42;
        std::snprintf(error->message, sizeof error->message, "%s", message);
    }
    return code;
}

std::int32_t take_code(coverslip_error *error) {
    const std::int32_t code = std::exchange(next_code, COVERSLIP_OK);
    return code == COVERSLIP_OK ? code : fail(error, code, "as the test asked");
}

// --------------------------------------------------------------------------------------- the table --

const void *get_extension(const char *) { return nullptr; }

std::int32_t runtime_open(const coverslip_runtime_desc *desc, coverslip_progress_fn progress, void *user,
                          coverslip_runtime *out, coverslip_error *error) {
    calls.emplace_back("runtime_open");
    if (desc->bundle_path == nullptr) return fail(error, COVERSLIP_INVALID_ARGUMENT, "bundle_path is null");
    auto now = coverslip::make<coverslip_progress>();
    now.stage = COVERSLIP_STAGE_SELF_CHECK;
    now.fraction = 0.5;
    if (progress != nullptr && progress(user, &now) != 0) return fail(error, COVERSLIP_CANCELLED, "cancelled");
    if (log_function != nullptr) log_function(log_user, COVERSLIP_LOG_INFO, "opened");
    opened_with = std::to_string(desc->isolation) + " " + std::to_string(desc->worker_timeout_ms) + " " +
                  std::to_string(desc->cpu_precision) + (desc->worker_path ? desc->worker_path : " -") +
                  (desc->cpu_tuning_path ? desc->cpu_tuning_path : " -");
    EXPECT((desc->trusted_keys == nullptr) == (desc->trusted_key_count == 0));
    for (std::uint32_t i = 0; i < desc->trusted_key_count; ++i) opened_with += desc->trusted_keys[i];
    *out = 7;
    return COVERSLIP_OK;
}
std::int32_t runtime_info(coverslip_runtime, coverslip_runtime_info *out, coverslip_error *) {
    out->features_per_tile = 2;
    out->embedding_width = 3;
    return COVERSLIP_OK;
}
std::int32_t feature_info(coverslip_runtime, std::uint32_t index, coverslip_feature_info *out, coverslip_error *error) {
    if (index > 9) return fail(error, COVERSLIP_INVALID_ARGUMENT, "index 10 of 10");
    out->index = index;
    std::memset(out->label, 'x', sizeof out->label); // Without a NUL: text() must stop at the field's end.
    return COVERSLIP_OK;
}
std::int32_t runtime_stats(coverslip_runtime, coverslip_runtime_stats *, coverslip_error *) { return COVERSLIP_OK; }
std::int32_t runtime_set_budget(coverslip_runtime, std::uint32_t, coverslip_error *) { return COVERSLIP_OK; }
std::int32_t runtime_close(coverslip_runtime runtime, std::uint32_t timeout_ms, coverslip_error *error) {
    EXPECT(runtime == 7);
    asked_timeout = timeout_ms;
    calls.emplace_back("runtime_close");
    return take_code(error);
}
std::int32_t slide_begin(coverslip_runtime, const coverslip_slide_desc *desc, coverslip_slide *out, coverslip_error *) {
    EXPECT(std::string(desc->scanner_id) == "scanner" && desc->color_name == nullptr);
    begun_with = *desc;
    last_tone = desc->tone_table_size == 0 ? 0 : desc->tone_table[desc->tone_table_size - 1];
    static coverslip_slide next = 100;
    *out = next++;
    calls.emplace_back("slide_begin");
    return COVERSLIP_OK;
}
std::int32_t slide_submit(coverslip_slide, const coverslip_frame *, coverslip_error *error) { return take_code(error); }
std::int32_t slide_submit_wait(coverslip_slide, const coverslip_frame *, std::uint32_t timeout_ms,
                               coverslip_error *error) {
    asked_timeout = timeout_ms;
    return take_code(error);
}
std::int32_t slide_finish(coverslip_slide, std::uint32_t timeout_ms, coverslip_error *error) {
    asked_timeout = timeout_ms;
    return take_code(error);
}
std::int32_t slide_cancel(coverslip_slide, coverslip_error *) { return COVERSLIP_OK; }
std::int32_t slide_poll(coverslip_slide, coverslip_result_batch *batch, coverslip_error *error) {
    if (next_code != COVERSLIP_OK) return take_code(error);
    EXPECT(batch->record_size == sizeof(coverslip_result) && batch->record_capacity == 4);
    EXPECT(batch->feature_capacity == 8);
    batch->record_count = 2;
    for (std::uint32_t i = 0; i < 2; ++i) {
        coverslip_result &record = batch->records[i];
        std::memset(&record, 0, sizeof record);
        record.sequence = i;
        record.flags_raised = COVERSLIP_FLAG_OUT_OF_FOCUS;
        record.feature_offset = 2 * i;
        record.feature_count = i + 1;
        record.embedding_offset = 1000; // Has no meaning if the count is 0.
    }
    for (std::uint32_t i = 0; i < 4; ++i) batch->features[i] = {10 + i, 0.5f};
    if (batch->embedding_capacity != 0) {
        batch->records[0].embedding_offset = 0;
        batch->records[0].embedding_count = 3;
        for (int i = 0; i < 3; ++i) batch->embeddings[i] = 1.0f;
    }
    return COVERSLIP_OK;
}
std::int32_t slide_wait(coverslip_slide slide, coverslip_result_batch *batch, std::uint32_t, coverslip_error *error) {
    return slide_poll(slide, batch, error);
}
std::int32_t slide_interrupt(coverslip_slide, coverslip_error *) { return COVERSLIP_OK; }
std::int32_t slide_alerts(coverslip_slide, coverslip_alert_batch *batch, coverslip_error *) {
    EXPECT(batch->record_size == sizeof(coverslip_alert));
    for (; alerts_left > 0 && batch->record_count < batch->record_capacity; --alerts_left) {
        batch->records[batch->record_count++].sequence = alerts_left;
    }
    return COVERSLIP_OK;
}
std::int32_t slide_summary(coverslip_slide, coverslip_slide_summary *out, coverslip_error *) {
    out->opened = 5;
    out->bundle_digest[0] = 0xAB;
    return COVERSLIP_OK;
}
std::int32_t slide_end(coverslip_slide, coverslip_error *) {
    calls.emplace_back("slide_end");
    return COVERSLIP_OK;
}

std::string report = "{}";
std::int32_t slide_report_json(coverslip_slide, char *buffer, std::uint64_t capacity, std::uint64_t *needed,
                               coverslip_error *error) {
    *needed = report.size() + 1;
    if (capacity < *needed) {
        if (capacity == 0) report += " "; // It grows before the next call.
        return fail(error, COVERSLIP_BUFFER_TOO_SMALL, "a larger buffer");
    }
    std::memcpy(buffer, report.c_str(), static_cast<std::size_t>(*needed));
    return COVERSLIP_OK;
}

const coverslip_api table = {sizeof(coverslip_api), COVERSLIP_ABI_MAJOR, COVERSLIP_ABI_MINOR, 0, get_extension,
                             runtime_open, runtime_info, feature_info, runtime_stats, runtime_set_budget,
                             runtime_close, slide_begin, slide_submit, slide_submit_wait, slide_finish,
                             slide_cancel, slide_poll, slide_wait, slide_interrupt, slide_alerts, slide_summary,
                             slide_end, slide_report_json};
/** The table as a library of 1.0 states it. */
const coverslip_api table_1_0 = [] {
    coverslip_api old = table;
    old.struct_size = offsetof(coverslip_api, slide_report_json);
    old.abi_minor = 0;
    return old;
}();

} // namespace

extern "C" std::int32_t coverslip_get_api(const coverslip_host_info *host, const coverslip_api **api,
                                          coverslip_error *error) {
    if (host->name != nullptr && std::string(host->name) == "from the future") {
        return fail(error, COVERSLIP_ABI_MISMATCH, "host 2.0, library 1.0");
    }
    log_function = host->log;
    log_user = host->log_user;
    *api = host->name != nullptr && std::string(host->name) == "with a library of 1.0" ? &table_1_0 : &table;
    return COVERSLIP_OK;
}

// --------------------------------------------------------------------------------------- the tests --

namespace {

coverslip::RuntimeOptions runtime_options() {
    coverslip::RuntimeOptions options;
    options.bundle_path = "bundle";
    return options;
}

coverslip::SlideOptions slide_options() {
    coverslip::SlideOptions options;
    options.scanner_id = "scanner";
    options.slide_id = "slide";
    return options;
}

coverslip::Runtime open() { return coverslip::Runtime::open(coverslip::Library::linked(), runtime_options()); }

void slides_end_before_their_runtime() {
    calls.clear();
    {
        auto runtime = open();
        auto outlives = runtime.begin_slide(slide_options());
        auto replaced = runtime.begin_slide(slide_options());
        replaced = runtime.begin_slide(slide_options()); // Ends the slide that it held.
        auto moved = std::move(replaced);
        EXPECT(!replaced && moved);
        coverslip::Runtime gone = std::move(runtime);
        { const coverslip::Runtime first_to_go = std::move(gone); }
        EXPECT(calls.back() == "slide_end"); // The slides hold the runtime open.
    }
    const std::vector<std::string> expected = {"runtime_open", "slide_begin", "slide_begin", "slide_begin", "slide_end",
                                               "slide_end",    "slide_end",   "runtime_close"};
    EXPECT(calls == expected);
}

void ended_objects_answer() {
    auto runtime = open();
    auto slide = runtime.begin_slide(slide_options());
    auto batch = runtime.make_batch(4);
    slide.end();
    slide.end();
    const auto frame = coverslip::make<coverslip_frame>();
    EXPECT(slide.submit(frame) == Code::InvalidHandle);
    EXPECT(slide.submit_wait(frame, 1ms) == Code::InvalidHandle);
    EXPECT(thrown_by([&] { (void)slide.poll(batch); }) == Code::InvalidHandle);
    EXPECT(thrown_by([&] { (void)slide.summary(); }) == Code::InvalidHandle);
    runtime.close();
    runtime.close();
    EXPECT(!runtime && runtime.handle() == 0);
    EXPECT(thrown_by([&] { (void)runtime.info(); }) == Code::InvalidHandle);
    EXPECT(asked_timeout == 10000);
}

void codes_and_exceptions() {
    auto runtime = open();
    auto slide = runtime.begin_slide(slide_options());
    const auto frame = coverslip::make<coverslip_frame>();
    auto error = coverslip::make<coverslip_error>();
    next_code = COVERSLIP_BUSY;
    EXPECT(slide.submit(frame, &error) == Code::Busy && error.code == COVERSLIP_BUSY);
    static_assert(noexcept(slide.submit(frame)) && noexcept(slide.submit_wait(frame, coverslip::no_timeout)));
    next_code = COVERSLIP_TIMEOUT;
    EXPECT(slide.finish(50ms) == Code::Timeout && asked_timeout == 50);
    EXPECT(slide.finish() == Code::Ok && asked_timeout == COVERSLIP_NO_TIMEOUT);
    EXPECT(slide.finish(-5ms) == Code::Ok && asked_timeout == 0);
    EXPECT(slide.finish(std::chrono::hours(24 * 365)) == Code::Ok && asked_timeout == COVERSLIP_NO_TIMEOUT);
    next_code = COVERSLIP_INTERNAL;
    try {
        (void)slide.finish();
        EXPECT(false);
    } catch (const coverslip::Error &caught) {
        EXPECT(caught.code() == Code::Internal && caught.native_code() == 42);
        EXPECT(caught.message() == "as the test asked");
        EXPECT(std::string(caught.what()) == "INTERNAL: as the test asked");
    }
    EXPECT(thrown_by([&] { (void)runtime.feature_info(10); }) == Code::InvalidArgument);
    EXPECT(coverslip::text(runtime.feature_info(3).label).size() == 128);
    EXPECT(coverslip::code_name(static_cast<Code>(999)) == "UNKNOWN");

    coverslip::HostOptions future;
    future.name = "from the future";
    EXPECT(thrown_by([&] { (void)coverslip::Library::linked(future); }) == Code::AbiMismatch);
    const auto without_bundle = [] { (void)coverslip::Runtime::open(coverslip::Library::linked(), {}); };
    EXPECT(thrown_by(without_bundle) == Code::InvalidArgument);
}

void batches() {
    auto runtime = open();
    auto slide = runtime.begin_slide(slide_options());
    auto batch = runtime.make_batch(4, true);
    EXPECT(batch.empty());
    EXPECT(slide.poll(batch) == Code::Ok && batch.size() == 2);
    std::uint64_t sequence = 0;
    for (const auto &result : batch) {
        EXPECT(result->sequence == sequence && result.features().size() == sequence + 1);
        EXPECT(result.features()[0].index == 10 + 2 * sequence);
        EXPECT(result.embedding().size() == (sequence == 0 ? 3u : 0u));
        EXPECT(result.raised(COVERSLIP_FLAG_OUT_OF_FOCUS) && !result.checked(COVERSLIP_FLAG_OUT_OF_FOCUS));
        ++sequence;
    }
    coverslip::ResultBatch moved = std::move(batch);
    EXPECT(batch.empty() && batch.begin() == batch.end()); // NOLINT: a batch that was moved from is empty.
    EXPECT(moved[1].features()[1].index == 13);
    next_code = COVERSLIP_END_OF_RESULTS;
    EXPECT(slide.wait(moved, 1ms) == Code::EndOfResults && moved.empty());
    next_code = COVERSLIP_BUFFER_TOO_SMALL;
    EXPECT(thrown_by([&] { (void)slide.poll(moved); }) == Code::BufferTooSmall);

    auto without = runtime.make_batch(4);
    EXPECT(slide.poll(without) == Code::Ok && without[0].embedding().empty());
    try {
        const coverslip::ResultBatch huge(0x10000u, 0x10000u, 0);
        EXPECT(false);
    } catch (const std::length_error &) {
    }
    for (std::uint32_t count : {0u, 3u, 16u, 33u}) {
        alerts_left = count;
        EXPECT(slide.alerts().size() == count);
    }
    EXPECT(coverslip::hex(slide.summary().bundle_digest).substr(0, 4) == "ab00");
}

void callbacks() {
    // Progress: seen, cancelling, throwing.
    double seen = 0;
    auto runtime = coverslip::Runtime::open(coverslip::Library::linked(), runtime_options(),
                                            [&](std::int32_t stage, double fraction) {
                                                EXPECT(stage == COVERSLIP_STAGE_SELF_CHECK);
                                                seen = fraction;
                                                return true;
                                            });
    EXPECT(std::fabs(seen - 0.5) < 1e-9);
    EXPECT(thrown_by([] {
               (void)coverslip::Runtime::open(coverslip::Library::linked(), runtime_options(),
                                              [](std::int32_t, double) { return false; });
           }) == Code::Cancelled);
    try {
        (void)coverslip::Runtime::open(coverslip::Library::linked(), runtime_options(),
                                       [](std::int32_t, double) -> bool { throw std::string("mine"); });
        EXPECT(false);
    } catch (const std::string &mine) {
        EXPECT(mine == "mine");
    }

    // A runtime logs to its own library object, even if another one was created after it, and a log function that
    // throws does no harm.
    std::string lines;
    coverslip::HostOptions options;
    options.log = [&](std::int32_t level, std::string_view message) {
        EXPECT(level == COVERSLIP_LOG_INFO);
        lines += message;
        throw std::runtime_error("the disk is full");
    };
    auto library = std::make_unique<coverslip::Library>(coverslip::Library::linked(options));
    const auto other = coverslip::Library::linked();
    auto logging = std::make_unique<coverslip::Runtime>(coverslip::Runtime::open(*library, runtime_options()));
    EXPECT(lines == "opened");
    // The log function outlives the library object while the runtime is open, and longer if the engine hangs, because a
    // lane that was left behind may still log.
    library.reset();
    log_function(log_user, COVERSLIP_LOG_INFO, "+");
    next_code = COVERSLIP_ENGINE_HUNG;
    EXPECT(thrown_by([&] { logging->close(1ms); }) == Code::EngineHung);
    logging.reset();
    log_function(log_user, COVERSLIP_LOG_INFO, "+");
    EXPECT(lines == "opened++");
}

void fields_of_1_1() {
    auto runtime = open();
    EXPECT(opened_with == "0 0 0 - -");
    auto plain = runtime.begin_slide(slide_options());
    EXPECT(begun_with.tone_table == nullptr && last_tone == 0 && begun_with.not_scanned[2] == 0);

    auto options = runtime_options();
    options.isolation = COVERSLIP_ISOLATION_ALWAYS;
    options.worker_timeout = 5s;
    options.cpu_precision = COVERSLIP_CPU_PRECISION_HALF;
    options.worker_path = " worker";
    options.cpu_tuning_path = " tuning";
    options.trusted_keys = {" one", " two"};
    const auto other = coverslip::Runtime::open(coverslip::Library::linked(), options);
    EXPECT(opened_with == "2 5000 1 worker tuning one two");

    auto begin = slide_options();
    begin.tone_black = 64;
    begin.tone_white = 4000;
    begin.tone_gamma = 2.2;
    begin.tone_table = {0, 9, 250};
    begin.stain = COVERSLIP_STAIN_H_DAB;
    begin.white_balance = {1.5, 1, 2};
    begin.color_matrix[8] = 3;
    begin.white_reference[0] = 240;
    begin.not_scanned[2] = 65535;
    auto slide = runtime.begin_slide(begin);
    EXPECT(begun_with.tone_table_size == 3 && last_tone == 250 && begun_with.stain == COVERSLIP_STAIN_H_DAB);
    EXPECT(begun_with.tone_black + begun_with.tone_white + begun_with.tone_gamma > 4066.1);
    EXPECT(begun_with.white_balance[2] > 1.9 && begun_with.color_matrix[8] > 2.9);
    EXPECT(begun_with.white_reference[0] > 239 && begun_with.not_scanned[2] == 65535);

    report = "{\"tiles\": 3}";
    EXPECT(slide.report_json() == "{\"tiles\": 3} "); // It grew while it was read.
    coverslip::HostOptions host;
    host.name = "with a library of 1.0";
    auto older = coverslip::Runtime::open(coverslip::Library::linked(host), runtime_options());
    auto there = older.begin_slide(slide_options());
    EXPECT(thrown_by([&] { (void)there.report_json(); }) == Code::Unsupported);
    there.end();
    EXPECT(thrown_by([&] { (void)there.report_json(); }) == Code::InvalidHandle);
}

void frames() {
    const std::uint8_t pixels[64] = {};
    const auto frame = coverslip::make_frame(COVERSLIP_PFNC_BGRA8, pixels, 20, 4, 3, -7, 9);
    EXPECT(frame.struct_size == sizeof frame && frame.plane_count == 1 && frame.x == -7 && frame.y == 9);
    EXPECT(frame.planes[0].size == 2 * 20 + 4 * 4);
    EXPECT(coverslip::make_frame(COVERSLIP_PFNC_RGB8, pixels, 12, 4, 1, 0, 0).planes[0].size == 12);
    EXPECT(coverslip::make_frame(COVERSLIP_PFNC_MONO10P, pixels, 8, 5, 2, 0, 0).planes[0].size == 8 + 7); // 50 bits.
    EXPECT(coverslip::make_frame(COVERSLIP_PFNC_RGB8, pixels, 12, 4, 0, 0, 0).planes[0].size == 0);
}

static_assert(!std::is_copy_constructible_v<coverslip::Slide> &&
              std::is_nothrow_move_constructible_v<coverslip::Slide>);
static_assert(!std::is_copy_constructible_v<coverslip::Runtime> &&
              std::is_nothrow_move_constructible_v<coverslip::Runtime>);
static_assert(std::is_nothrow_copy_constructible_v<coverslip::Error>);

} // namespace

int main() {
    slides_end_before_their_runtime();
    ended_objects_answer();
    codes_and_exceptions();
    batches();
    callbacks();
    fields_of_1_1();
    frames();
    return 0;
}
