// SPDX-License-Identifier: MIT OR Apache-2.0
//
// 01 — Load: the library by path or linked, the bundle, and what C++ adds: owners instead of handles, exceptions
// instead of codes, lambdas instead of callbacks with a user pointer.
//
// Usage: 01_load BUNDLE [LIBRARY]    With LIBRARY the plugin is loaded from that path, else the linked one is used.
#include "example.hpp"

#include <optional>

namespace {

using coverslip::Code;
using example::check;

/// Opens the bundle on the CPU, and prints each stage as it begins. With a key, only what that key signed is opened.
coverslip::Runtime open(const coverslip::Library &library, const std::string &bundle, const char *key = nullptr) {
    coverslip::RuntimeOptions options;
    if (key != nullptr) {
        options.trusted_keys = {key};
        options.flags = COVERSLIP_RUNTIME_REQUIRE_SIGNATURE;
    }
    options.bundle_path = bundle;
    options.engine = COVERSLIP_ENGINE_CPU; // 06_gpu.c uses a GPU.
    std::int32_t last_stage = -1;
    auto runtime = coverslip::Runtime::open(library, options, [&](std::int32_t stage, double) {
        if (stage != last_stage) std::printf("  stage %" PRId32 "\n", stage);
        last_stage = stage;
        return true; // false would cancel
    });
    check(last_stage == COVERSLIP_STAGE_SELF_CHECK, "the self-check came last");
    return runtime;
}

/// Expects `call` to throw with this code, and prints the library's words.
template <class Call> void expect(Code code, Call call) {
    try {
        call();
    } catch (const coverslip::Error &error) {
        std::printf("refused: %s\n", error.what());
        check(error.code() == code, "the code of the refusal");
        return;
    }
    check(false, "the call is refused");
}

void load(const std::string &bundle, const char *path) {
    coverslip::HostOptions host;
    host.name = "01_load 1.0";
    host.log = [](std::int32_t level, std::string_view message) { // From the library's threads, several at once.
        if (level > COVERSLIP_LOG_WARN) return;
        std::fprintf(stderr, "log: %.*s\n", static_cast<int>(message.size()), message.data());
    };

    expect(Code::Io, [&] { coverslip::Library::open("no such library"); });
    std::optional<coverslip::Library> library = example::load(path, host);
    std::printf("contract %" PRIu32 ".%" PRIu32 "\n", library->api().abi_major, library->api().abi_minor);

    expect(Code::BundleInvalid, [&] { open(*library, "no such bundle"); });
    std::printf("opening:\n");
    auto runtime = open(*library, bundle);
    // Nobody has signed the demo with this key. docs/guide/signing.md says how to make a key and sign.
    const char *const key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    expect(Code::SignatureInvalid, [&] { open(*library, bundle, key); });
    library.reset(); // The runtime keeps its library.

    const coverslip_runtime_info info = runtime.info();
    std::printf("bundle %s, %s: tiles of %" PRIu32 " px at %.3g um/px, %" PRIu32 " features\n", info.bundle_name,
                coverslip::hex(info.bundle_digest).substr(0, 12).c_str(), info.side, info.mpp, info.feature_count);
    std::printf("engine %s, %" PRIu32 " lanes, self-check off by %.1e\n", info.engine_version, info.lanes,
                info.self_check_error);
    check(info.engine == COVERSLIP_ENGINE_CPU, "the engine is the one asked for");
    check(info.fallback_reason == COVERSLIP_REASON_NONE, "no engine had to take its place");

    runtime.close(); // The destructor would close too, but cannot tell about an error.
    check(!runtime, "nothing is open");
    expect(Code::InvalidHandle, [&] { runtime.info(); });
    std::printf("closed\n");
}

} // namespace

int main(int argc, char **argv) { return example::run(argc, argv, load); }
