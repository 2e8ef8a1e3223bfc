// SPDX-License-Identifier: MIT OR Apache-2.0
//
// example.hpp — what the examples 01 to 05 share: a check, a camera, a description of the drawn slide.
#ifndef EXAMPLE_HPP
#define EXAMPLE_HPP

#include <coverslip/coverslip.hpp>

#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "../common/specimen.h"

namespace example {

/// How long an example waits for what must come.
inline constexpr std::chrono::seconds patience{60};

/// Throws unless `holds`.
inline void check(bool holds, const char *what) {
    if (!holds) throw std::logic_error(std::string("this does not hold: ") + what);
}

/// The side of a tile on the drawn slide, in the slide's pixels.
inline std::uint32_t tile_of(const coverslip_runtime_info &info) {
    return static_cast<std::uint32_t>(std::lround(info.side * info.mpp / specimen_mpp));
}

/// Describes the drawn slide, scanned in square frames of `side` pixels.
inline coverslip::SlideOptions slide_of(std::uint32_t side) {
    coverslip::SlideOptions options;
    options.scanner_id = "example-scanner";
    options.slide_id = "example-slide";
    options.color_state = COVERSLIP_COLOR_SRGB;
    options.mpp_x = options.mpp_y = specimen_mpp;
    options.extent_width = SPECIMEN_WIDTH;
    options.extent_height = SPECIMEN_HEIGHT;
    options.max_frame_width = options.max_frame_height = side;
    return options;
}

/// Captures square fields of `side` pixels, one at a time.
class Camera {
public:
    explicit Camera(std::uint32_t side) : side_(side), pixels_(std::size_t{3} * side * side) {}

    /// The frame points to the camera's pixels, and is valid until the next capture.
    coverslip_frame capture(std::int32_t x, std::int32_t y, std::uint64_t id) {
        specimen_capture(x, y, side_, side_, false, pixels_.data());
        const std::uint64_t stride = 3 * std::uint64_t{side_};
        auto frame = coverslip::make_frame(COVERSLIP_PFNC_RGB8, pixels_.data(), stride, side_, side_, x, y);
        frame.frame_id = id;
        return frame;
    }

private:
    std::uint32_t side_;
    std::vector<std::uint8_t> pixels_;
};

/// Runs an example on the bundle and the library (null: the linked one) that the command line names; returns the exit
/// code, 1 after an exception.
inline int run(int argc, char **argv, void (*body)(const std::string &bundle, const char *library)) {
    if (argc < 2 || argc > 3) {
        std::fprintf(stderr, "usage: %s BUNDLE [LIBRARY]\n", argv[0]);
        return 2;
    }
    try {
        body(argv[1], argc > 2 ? argv[2] : nullptr);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

/// The library at a path, or the one that the example is linked with.
inline coverslip::Library load(const char *path, coverslip::HostOptions host) {
    if (path != nullptr) return coverslip::Library::open(path, std::move(host));
    return coverslip::Library::linked(std::move(host));
}

} // namespace example

#endif // EXAMPLE_HPP
