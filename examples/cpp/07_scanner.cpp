// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 07 — Scanner: a complete acquisition loop in C++17, ready to be copied.
//
//   main thread         opens the bundle, begins the slide, takes results and alerts, prints the summary
//   acquisition thread  captures field after field and submits each; never waits while the stage moves
//
// Usage: 07_scanner BUNDLE [LIBRARY [REPORT]]
// With LIBRARY the plugin is loaded from that path, else the linked one is used; with REPORT the slide's report is written
// there, to be kept with its files.
// Exit code: 0 when every tile is accounted for and no call returned an unexpected code.
#include <coverslip/coverslip.hpp>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <map>
#include <stdexcept>
#include <vector>

#include "../common/specimen.h"
#include "thread.hpp"

namespace {

using namespace std::chrono_literals;
using coverslip::Code;

constexpr int field = 512; // The camera's field, wide and high.
constexpr int step = 464;  // From field to field: an overlap of about 10 %.
constexpr auto patience = 60s;

struct Place {
    int x, y, row;
};

/// The fields in scan order, row by row. The last column and row move inwards, as a stage does.
std::vector<Place> plan() {
    std::vector<Place> places;
    for (int y = 0, row = 0;; y += step, ++row) {
        for (int x = 0;; x += step) {
            places.push_back({std::min(x, SPECIMEN_WIDTH - field), std::min(y, SPECIMEN_HEIGHT - field), row});
            if (x + field >= SPECIMEN_WIDTH) break;
        }
        if (y + field >= SPECIMEN_HEIGHT) return places;
    }
}

/// The camera: captures fields, one at a time.
class Camera {
public:
    coverslip_frame capture(const Place &place, std::uint64_t id) {
        specimen_capture(place.x, place.y, field, field, false, pixels_.data());
        coverslip_frame frame = coverslip::make_frame(COVERSLIP_PFNC_RGB8, pixels_.data(), 3 * field, field, field,
                                                      place.x, place.y);
        frame.frame_id = id;
        frame.group_id = static_cast<std::uint64_t>(place.row) + 1;
        return frame;
    }

private:
    std::vector<std::uint8_t> pixels_ = std::vector<std::uint8_t>(std::size_t{3} * field * field);
};

/// Scans the slide and waits until it is analysed. On a failure it cancels the slide, so that the thread that takes
/// results comes to its end too.
class Acquisition {
public:
    explicit Acquisition(coverslip::Slide &slide) : slide_(slide), thread_([this] { run(); }) {}
    Acquisition(const Acquisition &) = delete;
    Acquisition &operator=(const Acquisition &) = delete;
    ~Acquisition() {
        if (!thread_.joinable()) return;
        cancel();
        thread_.join();
    }

    /// Waits for the end. Returns how many fields had to be captured again; throws what ended the thread early.
    std::size_t join() {
        thread_.join();
        if (thrown_) std::rethrow_exception(thrown_);
        return recaptured_;
    }

private:
    void run() noexcept {
        try {
            scan();
        } catch (...) {
            thrown_ = std::current_exception();
            cancel();
        }
    }

    void scan() {
        const std::vector<Place> places = plan();
        Camera camera;
        auto error = coverslip::make<coverslip_error>();

        // The stage moves and cannot wait: a field that is refused is noted, and the scan goes on.
        std::vector<std::size_t> refused;
        for (std::size_t i = 0; i < places.size(); ++i) {
            const Code code = slide_.submit(camera.capture(places[i], i + 1), &error);
            if (code == Code::Busy) {
                refused.push_back(i);
            } else if (code != Code::Ok) {
                throw coverslip::Error(code, error.native_code, error.message);
            }
        }
        // Then the stage goes back to those, and may wait. A scanner with a ring buffer submits from that instead.
        for (std::size_t i : refused) {
            const Code code = slide_.submit_wait(camera.capture(places[i], i + 1), patience, &error);
            if (code != Code::Ok) throw coverslip::Error(code, error.native_code, error.message);
        }
        recaptured_ = refused.size();
        if (slide_.finish(patience) != Code::Ok) throw std::runtime_error("finish: the results did not come in time");
    }

    void cancel() noexcept {
        try {
            slide_.cancel();
        } catch (const std::exception &error) {
            std::fprintf(stderr, "cancel: %s\n", error.what());
        }
    }

    coverslip::Slide &slide_;
    std::size_t recaptured_ = 0;
    std::exception_ptr thrown_;
    example::thread thread_; // The last member: it starts when the others are there.
};

struct Quality {
    std::uint64_t tiles = 0, flagged = 0, alerts = 0;
    std::map<std::uint32_t, double> features; // Summed activation by feature.
};

void print_alerts(coverslip::Slide &slide, Quality &quality) {
    for (const coverslip_alert &alert : slide.alerts()) {
        const std::string name(coverslip::alert_name(alert.code));
        std::printf("alert %s at (%" PRId64 ", %" PRId64 "), %" PRIu64 " x %" PRIu64 " px, since frame %" PRIu64
                    ": %.3g against %.3g\n",
                    name.c_str(), alert.x, alert.y, alert.width, alert.height, alert.since_frame_id, alert.strength,
                    alert.threshold);
        ++quality.alerts;
    }
}

/// Takes results until there are no more.
Quality take_results(coverslip::Slide &slide, coverslip::ResultBatch batch) {
    Quality quality;
    for (Code code = Code::Ok; code != Code::EndOfResults;) {
        code = slide.wait(batch, 100ms);
        for (const coverslip::Result &result : batch) {
            // This is where a scanner decides: scan this field again, refocus, or store the features.
            ++quality.tiles;
            if ((result->flags_raised & ~COVERSLIP_FLAG_BACKGROUND) != 0) ++quality.flagged;
            for (const coverslip_feature &feature : result.features()) {
                quality.features[feature.index] += static_cast<double>(feature.value);
            }
        }
        print_alerts(slide, quality);
    }
    return quality;
}

void print_summary(const coverslip_slide_summary &s, const Quality &quality, std::size_t recaptured) {
    std::printf("frames: %" PRIu64 " accepted, %" PRIu64 " refused (%zu captured again)\n", s.frames_accepted,
                s.frames_refused, recaptured);
    std::printf("tiles: %" PRIu64 " opened", s.opened);
    for (std::int32_t status = COVERSLIP_TILE_DONE; status <= COVERSLIP_TILE_FAILED; ++status) {
        const std::string name(coverslip::tile_name(status));
        std::printf("%s %" PRIu64 " %s", status == COVERSLIP_TILE_DONE ? " =" : " +", s.results[status], name.c_str());
    }
    std::printf("\nquality: %" PRIu64 " tiles flagged, %" PRIu64 " alerts, %zu features seen\n", quality.flagged,
                quality.alerts, quality.features.size());
    std::printf("time: %.2f s, from a tile's last pixel to its result %.0f ms (median), %.0f ms (99 %%)\n",
                static_cast<double>(s.elapsed_ns) / 1e9, static_cast<double>(s.latency_p50_ns) / 1e6,
                static_cast<double>(s.latency_p99_ns) / 1e6);
    std::printf("plugin %s, engine %s, bundle %s\n", s.plugin_version, s.engine_version,
                coverslip::hex(s.bundle_digest).substr(0, 12).c_str());
}

bool accounted_for(const coverslip_slide_summary &s, const Quality &quality) {
    return s.state == COVERSLIP_SLIDE_FINISHED && s.opened > 0 && s.in_flight == 0 && s.unpolled == 0 &&
           s.opened == s.results[0] && s.results[0] == quality.tiles;
}

int scan(const std::string &bundle, const char *library_path, const char *report_path) {
    coverslip::HostOptions host;
    host.name = "07_scanner 1.0";
    host.log = [](std::int32_t level, std::string_view message) {
        if (level > COVERSLIP_LOG_WARN) return;
        std::fprintf(stderr, "coverslip: %.*s\n", static_cast<int>(message.size()), message.data());
    };
    const auto library = library_path != nullptr ? coverslip::Library::open(library_path, host)
                                                 : coverslip::Library::linked(host);

    coverslip::RuntimeOptions options;
    options.bundle_path = bundle;
    auto runtime = coverslip::Runtime::open(library, options);
    const coverslip_runtime_info info = runtime.info();
    std::printf("bundle %s: %" PRIu32 " px at %.3g um/px, %" PRIu32 " features; %" PRIu32 " lanes\n",
                info.bundle_name, info.side, info.mpp, info.feature_count, info.lanes);

    coverslip::SlideOptions desc;
    desc.scanner_id = "example-scanner";
    desc.slide_id = "example-slide";
    desc.color_state = COVERSLIP_COLOR_SRGB;
    desc.mpp_x = desc.mpp_y = specimen_mpp;
    desc.extent_width = SPECIMEN_WIDTH;
    desc.extent_height = SPECIMEN_HEIGHT;
    desc.max_frame_width = desc.max_frame_height = field;
    desc.spread_width = SPECIMEN_WIDTH; // A row of fields leaves a row of tiles half captured.
    desc.spread_height = field;
    auto slide = runtime.begin_slide(desc);

    Acquisition acquisition(slide);
    const Quality quality = take_results(slide, runtime.make_batch(64));
    const std::size_t recaptured = acquisition.join();

    const coverslip_slide_summary summary = slide.summary();
    print_summary(summary, quality, recaptured);
    const bool complete = accounted_for(summary, quality);
    if (!complete) std::fprintf(stderr, "tiles are missing\n");
    if (report_path != nullptr) {
        std::ofstream file(report_path);
        file << slide.report_json() << std::flush;
        if (!file) throw std::runtime_error(std::string(report_path) + ": the report could not be written");
    }
    slide.end(); // The destructors do both, but cannot tell about an error.
    runtime.close();
    return complete ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 2 || argc > 4) {
        std::fprintf(stderr, "usage: %s BUNDLE [LIBRARY [REPORT]]\n", argv[0]);
        return 2;
    }
    try {
        return scan(argv[1], argc > 2 ? argv[2] : nullptr, argc > 3 ? argv[3] : nullptr);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
