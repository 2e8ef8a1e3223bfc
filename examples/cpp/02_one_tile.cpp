// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 02 — One tile: a slide of a single tile. A ResultBatch owns the buffers, a Result finds its features, its embedding
// and its flags in them.
//
// Usage: 02_one_tile BUNDLE [LIBRARY]
#include "example.hpp"

namespace {

using coverslip::Code;
using example::check;

constexpr std::int32_t tile_x = 800, tile_y = 448; // In the middle of the drawn slide: tissue, in focus.

void print(const coverslip::Runtime &runtime, const coverslip::Result &result) {
    std::printf("tile (%" PRId32 ", %" PRId32 "): %s\n", result->column, result->row,
                std::string(coverslip::tile_name(result->status)).c_str());
    for (std::uint32_t bit = 0; bit < COVERSLIP_FLAG_COUNT; ++bit) {
        const std::uint32_t flag = 1u << bit;
        if (!result.checked(flag)) continue; // Most flags need a profile. One that was not checked has not passed.
        std::printf("  %-19s %s, score %.3g\n", std::string(coverslip::flag_name(flag)).c_str(),
                    result.raised(flag) ? "raised" : "passed", static_cast<double>(result->scores[bit]));
    }
    for (std::size_t i = 0; i < result.features().size() && i < 3; ++i) { // Strongest first.
        const coverslip_feature feature = result.features()[i];
        std::printf("  feature %" PRIu32 " = %.3f %s\n", feature.index, static_cast<double>(feature.value),
                    runtime.feature_info(feature.index).label);
    }
    double square = 0;
    for (const float value : result.embedding()) square += static_cast<double>(value) * static_cast<double>(value);
    std::printf("  %zu features, an embedding of %zu floats and length %.3f\n", result.features().size(),
                result.embedding().size(), std::sqrt(square));
}

void one_tile(const std::string &bundle, const char *path) {
    coverslip::HostOptions host;
    host.name = "02_one_tile 1.0";
    coverslip::RuntimeOptions options;
    options.bundle_path = bundle;
    options.engine = COVERSLIP_ENGINE_CPU;
    auto runtime = coverslip::Runtime::open(example::load(path, host), options);
    const coverslip_runtime_info info = runtime.info();
    const std::uint32_t side = example::tile_of(info);

    auto what = example::slide_of(side);
    what.extent_x = tile_x; // The grid begins here, and ends one tile further.
    what.extent_y = tile_y;
    what.extent_width = what.extent_height = side;
    what.flags = COVERSLIP_SLIDE_EMBEDDINGS;
    auto slide = runtime.begin_slide(what);

    // submit never throws, because the acquisition thread calls it: it returns every code.
    example::Camera camera(side);
    check(slide.submit(camera.capture(tile_x, tile_y, 1)) == Code::Ok, "the frame is taken");
    check(slide.finish(example::patience) == Code::Ok, "the slide comes to its end");

    auto batch = runtime.make_batch(1, true); // Room for one result, with embeddings.
    check(slide.poll(batch) == Code::Ok && batch.size() == 1, "there is one result");
    const coverslip::Result result = batch[0];
    print(runtime, result);
    check(result->status == COVERSLIP_TILE_DONE && !result.features().empty(), "the tile is analysed");
    check(result.embedding().size() == info.embedding_width, "the embedding came with it");
    check(slide.poll(batch) == Code::EndOfResults, "and no other result");
    slide.end(); // The destructors do both, but cannot tell about an error.
    runtime.close();
}

} // namespace

int main(int argc, char **argv) { return example::run(argc, argv, one_tile); }
