/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A host with another floating-point mode (other rounding, denormals as zero). New threads inherit it from the thread
 * that opens the runtime. The results must nevertheless be the same to the bit.
 */
#include "host.h"

#include <fenv.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

enum { TILES = TILES_ACROSS * TILES_DOWN, MOST = 4096 };

typedef struct outcome {
    coverslip_result results[TILES];
    coverslip_feature features[TILES][MOST];
    float embeddings[TILES][MOST];
} outcome;

static void take(const coverslip_api *api, const char *bundle, outcome *out) {
    const coverslip_runtime runtime = host_open(api, bundle);
    const coverslip_runtime_info info = host_about(api, runtime);
    coverslip_slide_desc desc = host_slide_desc(&info);
    coverslip_slide slide = 0;
    CHECK(info.features_per_tile <= MOST && info.embedding_width <= MOST);
    desc.mpp_x = desc.mpp_y = 0.8 * info.mpp; /* This includes resampling. */
    desc.flags = COVERSLIP_SLIDE_EMBEDDINGS;
    CHECK_OK(api->slide_begin(runtime, &desc, &slide, &host_error));
    host_scan(api, slide, info.side);
    CHECK_OK(api->slide_finish(slide, 60000, &host_error));
    for (;;) {
        /* Results are stored by their tile's place, since tiles end in any order. */
        static coverslip_feature features[MOST];
        static float embedding[MOST];
        coverslip_result record;
        coverslip_result_batch batch;
        COVERSLIP_INIT(batch);
        batch.record_size = sizeof record;
        batch.records = &record;
        batch.features = features;
        batch.embeddings = embedding;
        batch.record_capacity = 1;
        batch.feature_capacity = batch.embedding_capacity = MOST;
        const int32_t code = api->slide_poll(slide, &batch, &host_error);
        if (code == COVERSLIP_END_OF_RESULTS) break;
        CHECK_OK(code);
        const size_t place = (size_t)(record.row * TILES_ACROSS + record.column);
        CHECK(place < TILES);
        record.sequence = record.latency_ns = 0;
        out->results[place] = record;
        memcpy(out->features[place], features, record.feature_count * sizeof *features);
        memcpy(out->embeddings[place], embedding, record.embedding_count * sizeof *embedding);
    }
    CHECK_OK(api->slide_end(slide, &host_error));
    host_close(api, runtime);
}

/* A callback runs in the host's mode, and what it sets stays. */
static int32_t COVERSLIP_CALL progress(void *user, const coverslip_progress *state) {
    (void)state;
    ++*(int *)user;
    CHECK(fegetround() == FE_UPWARD || fegetround() == FE_DOWNWARD);
    fesetround(FE_DOWNWARD);
    return 0;
}

static void callbacks(const coverslip_api *api, const char *bundle) {
    coverslip_runtime_desc desc;
    coverslip_runtime runtime = 0;
    int calls = 0;
    COVERSLIP_INIT(desc);
    desc.bundle_path = bundle;
    fesetround(FE_UPWARD);
    CHECK_OK(api->runtime_open(&desc, progress, &calls, &runtime, &host_error));
    CHECK(calls > 1 && fegetround() == FE_DOWNWARD);
    fesetround(FE_TONEAREST);
    host_close(api, runtime);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const coverslip_api *api = host_api(host_load(argv[1]));
    callbacks(api, argv[2]);
    outcome *usual = calloc(1, sizeof *usual), *unusual = calloc(1, sizeof *unusual);
    CHECK(usual != NULL && unusual != NULL);
    take(api, argv[2], usual);
    fesetround(FE_UPWARD);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
    take(api, argv[2], unusual);
    fesetround(FE_TONEAREST);
    for (size_t i = 0; i < TILES; i++) {
        const coverslip_result *a = &usual->results[i], *b = &unusual->results[i];
        CHECK(a->status == b->status && a->flags_raised == b->flags_raised);
        CHECK(memcmp(a->scores, b->scores, sizeof a->scores) == 0);
        CHECK(a->feature_count == b->feature_count && a->embedding_count == b->embedding_count);
        CHECK(memcmp(&a->reconstruction_error, &b->reconstruction_error, sizeof a->reconstruction_error) == 0);
    }
    CHECK(usual->results[0].status == COVERSLIP_TILE_DONE && usual->results[0].embedding_count > 0);
    CHECK(memcmp(usual->features, unusual->features, sizeof usual->features) == 0);
    CHECK(memcmp(usual->embeddings, unusual->embeddings, sizeof usual->embeddings) == 0);
    free(usual);
    free(unusual);
    return 0;
}
