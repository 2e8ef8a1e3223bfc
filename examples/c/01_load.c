/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * 01 — Load: from the one exported symbol to an open bundle, and back.
 *
 *   coverslip_get_api   checks that host and library speak the same version of the contract
 *   runtime_open        loads and verifies the bundle, checks the engine, starts the threads
 *   runtime_info        says what was opened
 *   runtime_close       joins every thread
 *
 * Usage: 01_load BUNDLE
 */
#include "example.h"

/* Called on this thread while the runtime opens. Anything but 0 would cancel. */
static int32_t COVERSLIP_CALL show_progress(void *user, const coverslip_progress *progress) {
    static const char *const names[] = {"verify", "compose", "engine", "self-check"};
    int32_t *last = user;
    const int32_t stage = progress->stage;
    if (stage != *last && stage >= 0 && stage < 4) printf("  %s\n", names[stage]);
    *last = stage;
    return 0;
}

/* Called from the library's threads, several at once. The library itself never prints. */
static void COVERSLIP_CALL write_log(void *user, int32_t level, const char *message) {
    (void)user;
    if (level <= COVERSLIP_LOG_WARN) fprintf(stderr, "log: %s\n", message);
}

int main(int argc, char **argv) {
    const char *const bundle = example_bundle(argc, argv);

    /* Who the host is, and which contract it was compiled for. */
    coverslip_host_info host;
    COVERSLIP_INIT(host); /* Every struct begins this way: zeroed, with its size. */
    host.abi_major = COVERSLIP_ABI_MAJOR;
    host.abi_minor = COVERSLIP_ABI_MINOR;
    host.name = "01_load 1.0";
    host.log = write_log;

    const coverslip_api *api = NULL;
    CHECK_OK(coverslip_get_api(&host, &api, &error));
    printf("contract %" PRIu32 ".%" PRIu32 "\n", api->abi_major, api->abi_minor);

    /* A library with another major version refuses, and says which versions met. */
    coverslip_host_info stranger = host;
    stranger.abi_major = COVERSLIP_ABI_MAJOR + 1;
    const coverslip_api *none = NULL;
    CHECK(coverslip_get_api(&stranger, &none, &error) == COVERSLIP_ABI_MISMATCH && none == NULL);
    printf("another contract: %s\n", error.message);

    /* What to open, and on which engine. What stays 0 takes its default. */
    coverslip_runtime_desc desc;
    COVERSLIP_INIT(desc);
    desc.engine = COVERSLIP_ENGINE_CPU; /* 06_gpu.c uses a GPU. */
    coverslip_runtime runtime = 0;
    desc.bundle_path = "no such bundle";
    CHECK(api->runtime_open(&desc, NULL, NULL, &runtime, &error) != COVERSLIP_OK && runtime == 0);
    printf("a missing bundle: error %" PRId32 ", %s\n", error.code, error.message);

    int32_t last_stage = -1;
    desc.bundle_path = bundle;
    printf("opening:\n");
    CHECK_OK(api->runtime_open(&desc, show_progress, &last_stage, &runtime, &error));
    CHECK(last_stage == COVERSLIP_STAGE_SELF_CHECK);

    /* Nobody has signed the demo with this key, and so a host that requires it does not open the demo.
     * docs/guide/signing.md says how to make a key and sign. */
    const char *const keys[] = {"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"};
    coverslip_runtime_desc strict = desc;
    strict.trusted_keys = keys;
    strict.trusted_key_count = 1;
    strict.flags = COVERSLIP_RUNTIME_REQUIRE_SIGNATURE;
    coverslip_runtime refused = 0;
    CHECK(api->runtime_open(&strict, NULL, NULL, &refused, &error) == COVERSLIP_SIGNATURE_INVALID && refused == 0);
    printf("a bundle that nobody we trust has signed: %s\n", error.message);

    coverslip_runtime_info info;
    COVERSLIP_INIT(info);
    CHECK_OK(api->runtime_info(runtime, &info, &error));
    CHECK(info.engine == COVERSLIP_ENGINE_CPU && info.fallback_reason == COVERSLIP_REASON_NONE);
    printf("bundle %s: tiles of %" PRIu32 " px at %.3g um/px\n", info.bundle_name, info.side, info.mpp);
    printf("%" PRIu32 " embeddings per tile, %" PRIu32 " floats in all; %" PRIu32 " features, at most %" PRIu32
           " of them per tile\n",
           info.tap_count, info.embedding_width, info.feature_count, info.features_per_tile);
    printf("engine %s, %" PRIu32 " lanes, self-check off by %.1e\n", info.engine_version, info.lanes,
           info.self_check_error);

    CHECK_OK(api->runtime_close(runtime, PATIENCE_MS, &error));
    /* A stale handle does no harm. */
    CHECK(api->runtime_close(runtime, PATIENCE_MS, &error) == COVERSLIP_INVALID_HANDLE);
    printf("closed\n");
    return 0;
}
