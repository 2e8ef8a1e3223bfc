// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 05 — Busy and recovery: a stage that runs ahead of whoever takes the results, on two threads; a slide too many; a
// slide that is given up.
//
//   Code       what belongs to the day's work: Busy, Timeout, Interrupted, EndOfResults
//   exception  what a host does not expect; its code says what may be tried, here after LimitReached
//
// Usage: 05_busy_and_recovery BUNDLE [LIBRARY]
#include "example.hpp"
#include "thread.hpp"

namespace {

using coverslip::Code;
using example::check;

/// The upper left corners of the tiles, row by row.
struct Place {
    std::int32_t x, y;
};

std::vector<Place> places(std::uint32_t side) {
    std::vector<Place> all;
    const auto step = static_cast<std::int32_t>(side);
    for (std::int32_t y = 0; y + step <= SPECIMEN_HEIGHT; y += step) {
        for (std::int32_t x = 0; x + step <= SPECIMEN_WIDTH; x += step) all.push_back({x, y});
    }
    return all;
}

/// Takes results on a thread of its own until there are no more, or until somebody interrupts.
class Consumer {
public:
    Consumer(coverslip::Slide &slide, coverslip::ResultBatch batch)
        : slide_(slide), batch_(std::move(batch)), thread_([this] { run(); }) {}
    Consumer(const Consumer &) = delete;
    Consumer &operator=(const Consumer &) = delete;
    ~Consumer() {
        if (!thread_.joinable()) return;
        slide_.interrupt(); // Somebody threw meanwhile.
        thread_.join();
    }

    /// Waits for its end. Returns why it came.
    Code join() {
        thread_.join();
        if (thrown_) std::rethrow_exception(thrown_);
        return last_;
    }
    std::uint64_t taken() const { return taken_; } // After join.

private:
    void run() noexcept {
        try {
            while ((last_ = slide_.wait(batch_, example::patience)) == Code::Ok) taken_ += batch_.size();
        } catch (...) {
            thrown_ = std::current_exception();
        }
    }

    coverslip::Slide &slide_;
    coverslip::ResultBatch batch_;
    std::uint64_t taken_ = 0;
    Code last_ = Code::Ok;
    std::exception_ptr thrown_;
    example::thread thread_; // The last member: it starts when the others are there.
};

/// Nobody takes results while the stage moves, so frames are refused. Then somebody does, and the stage goes back.
void frames_are_refused_and_come_again(coverslip::Runtime &runtime, coverslip::Slide &slide, std::uint32_t side) {
    const std::vector<Place> all = places(side);
    example::Camera camera(side);
    std::vector<std::size_t> refused;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const Code code = slide.submit(camera.capture(all[i].x, all[i].y, i + 1));
        check(code == Code::Ok || code == Code::Busy, "a frame is taken or finds no room");
        if (code == Code::Busy) refused.push_back(i);
    }
    check(!refused.empty(), "some frames find no room");

    Consumer consumer(slide, runtime.make_batch(8));
    for (const std::size_t i : refused) {
        const Code code = slide.submit_wait(camera.capture(all[i].x, all[i].y, i + 1), example::patience);
        check(code == Code::Ok, "there is room for who waits");
    }
    check(slide.finish(example::patience) == Code::Ok, "the slide comes to its end");
    check(consumer.join() == Code::EndOfResults, "all results are taken");

    const coverslip_slide_summary sum = slide.summary();
    std::printf("%zu of %zu frames refused at first; %" PRIu64 " tiles, %" PRIu64 " results, %" PRIu64 " refused\n",
                refused.size(), all.size(), sum.opened, consumer.taken(), sum.results[COVERSLIP_TILE_REFUSED]);
    check(sum.opened == all.size() && consumer.taken() == sum.opened, "each tile has one result");
    check(sum.results[COVERSLIP_TILE_REFUSED] == 0, "each refused frame came again");
}

/// The operator takes the slide out: whoever waits is woken, and every tile still ends in exactly one result.
void a_slide_is_cancelled(coverslip::Runtime &runtime, coverslip::Slide &slide, std::uint32_t side) {
    Consumer waiting(slide, runtime.make_batch(8));
    slide.interrupt(); // While it waits, or before: then its next wait returns at once.
    check(waiting.join() == Code::Interrupted && waiting.taken() == 0, "the consumer is woken");

    example::Camera camera(side);
    const std::vector<Place> all = places(side);
    for (std::size_t i = 0; i < 10; ++i) {
        check(slide.submit(camera.capture(all[i].x, all[i].y, i + 1)) == Code::Ok, "there is room for ten tiles");
    }
    slide.cancel();
    check(slide.submit(camera.capture(0, 0, 11)) == Code::WrongState, "no frame after a cancel");
    Consumer consumer(slide, runtime.make_batch(8));
    check(consumer.join() == Code::EndOfResults && consumer.taken() == 10, "ten tiles have ten results");
    std::printf("cancelled: 10 tiles, each with one result\n");
}

void busy_and_recovery(const std::string &bundle, const char *path) {
    coverslip::HostOptions host;
    host.name = "05_busy_and_recovery 1.0";
    coverslip::RuntimeOptions options;
    options.bundle_path = bundle;
    options.engine = COVERSLIP_ENGINE_CPU;
    options.max_threads = 1; // One lane, and few results that wait: frames are refused soon.
    options.max_slides = 1;
    auto runtime = coverslip::Runtime::open(example::load(path, host), options);
    const std::uint32_t side = example::tile_of(runtime.info());
    auto what = example::slide_of(side);
    what.max_unpolled = 4;

    auto slide = runtime.begin_slide(what);
    frames_are_refused_and_come_again(runtime, slide, side);

    try { // One slide is open, and no more may be.
        const auto second = runtime.begin_slide(what);
        check(false, "a second slide is refused");
    } catch (const coverslip::Error &error) {
        std::printf("refused: %s\n", error.what());
        check(error.code() == Code::LimitReached, "the code of the refusal");
    }
    slide.end(); // As the message says.
    slide = runtime.begin_slide(what);
    a_slide_is_cancelled(runtime, slide, side);
    slide.end();

    slide = runtime.begin_slide(what); // The runtime is as good as new.
    frames_are_refused_and_come_again(runtime, slide, side);
    slide.end();
    runtime.close();
}

} // namespace

int main(int argc, char **argv) { return example::run(argc, argv, busy_and_recovery); }
