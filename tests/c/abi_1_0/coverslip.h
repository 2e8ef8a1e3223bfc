/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * coverslip.h — the C contract of Coverslip, version 1.
 *
 * Coverslip is a shared library that slide-scanner software loads. The host opens a bundle (a pathology
 * foundation model with a sparse autoencoder, SAE), submits the frames of a slide as they are captured, and
 * gets for each tile of the slide SAE features and QC flags, and for the slide alerts while it is still on
 * the stage.
 *
 * THE WAY OF A SLIDE
 *
 *     coverslip_get_api            once; the only exported symbol
 *     runtime_open                 once; loads and checks the bundle, starts the threads
 *       slide_begin                per slide; sizes and reserves its memory
 *         slide_submit  …          per frame, on the acquisition thread; never blocks
 *         slide_poll / slide_wait  on any thread, as results come
 *         slide_alerts             the same way
 *       slide_finish               no more frames; waits for the rest
 *       slide_summary              counters, digests, versions
 *       slide_end                  the handle is gone
 *     runtime_close                joins every thread
 *
 * RULES THAT HOLD FOR EVERY FUNCTION
 *
 * Threads. Each function carries one tag:
 *   [any]      any thread, at any time, also several at once.
 *   [control]  any thread; may block for as long as its text says; not from a callback of this library.
 *   [submit]   one thread at a time per slide (different slides in parallel); never blocks, allocates, logs
 *              or touches a GPU, unless its text says that it waits.
 * Ownership. The library owns what it returns by pointer (the function table, extension tables): valid until
 *   the process ends, never freed by the host. The host owns every buffer and string it passes in; the
 *   library does not keep a pointer to one after the call returns. The two exceptions are the log callback
 *   and its `user` pointer: they must stay valid until every runtime opened after the coverslip_get_api call
 *   that passed them is closed.
 * Structs. Each begins with `struct_size`, which the host sets to sizeof. Of an input the library reads
 *   at most that many bytes: what is missing counts as zero; what is beyond the library's own knowledge must
 *   be zero (else INVALID_STRUCT). Of an output it writes at most that many bytes. Zero means "the default"
 *   wherever a default is named. COVERSLIP_INIT(s) zeroes a struct and sets its size.
 * Errors. Every function returns a COVERSLIP_* code; COVERSLIP_OK is 0. Unless a function says otherwise,
 *   nothing is written to its outputs on an error. `error` may be NULL; else it is filled with the code and
 *   a message that says what was expected, what was found and what to do. Any function may return
 *   INVALID_ARGUMENT (a null pointer, a value out of range), INVALID_STRUCT, INVALID_HANDLE and INTERNAL;
 *   the texts below name the others.
 * Handles. 64-bit values, never reused within 2^31 lives of a place; 0 is never valid. A stale handle is
 *   answered with INVALID_HANDLE.
 * Panics. A defect inside the library is caught at this line and returned as INTERNAL; it poisons the slide
 *   it happened in (its remaining tiles end as FAILED) and nothing else.
 * The host's process. The library never writes to stdout or stderr, sets no signal handler, locale, floating-
 *   point mode, atexit handler or allocator, and starts no thread before runtime_open. It stays mapped after
 *   dlclose, so that a thread that once called it may end later than that.
 * Text is UTF-8 and NUL-terminated, paths too (also on Windows). Text in outputs is cut at a character's end
 *   where it does not fit. Times are nanoseconds, durations milliseconds where a name ends in _ms.
 *
 * PIXELS AND TILES
 *
 * The acquisition plane is measured in whole pixels of the scanner, x to the right and y down; negative
 * coordinates are legal. The slide is cut into a grid of tiles, each round(side * model mpp / slide mpp)
 * pixels wide and high (separately in x and y), tile (0, 0) with its upper left corner at the grid's origin.
 * A frame is whatever the host has: a tile of its own size, a strip, a camera field, with or without overlap.
 * Its pixels go to the tiles that they cover; where frames overlap within a pass, the first to arrive wins.
 * Every tile that got a pixel, and every tile that a refused frame would have touched, ends per pass in
 * exactly one result (see coverslip_result.status).
 */
#ifndef COVERSLIP_H
#define COVERSLIP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The calling convention of every function and callback. */
#if defined(_WIN32)
#define COVERSLIP_CALL __cdecl
#else
#define COVERSLIP_CALL
#endif

/** How the one symbol is imported. A host that loads the library by path needs no import. */
#if defined(_WIN32) && !defined(COVERSLIP_NO_IMPORT)
#define COVERSLIP_IMPORT __declspec(dllimport)
#else
#define COVERSLIP_IMPORT
#endif

/** The version of this header. A major version is another contract; minor versions only append. */
#define COVERSLIP_ABI_MAJOR 1u
#define COVERSLIP_ABI_MINOR 0u

/** Zeroes a struct of this header and sets its struct_size. */
#define COVERSLIP_INIT(s) (memset(&(s), 0, sizeof(s)), (s).struct_size = (uint32_t)sizeof(s))

/* ------------------------------------------------------------------------------------------- codes -- */

/** Success. */
#define COVERSLIP_OK 0
/** A null pointer, or a value out of its range. */
#define COVERSLIP_INVALID_ARGUMENT 1
/** A struct_size too small to be one, or non-zero bytes beyond what this library knows. */
#define COVERSLIP_INVALID_STRUCT 2
/** Not a handle, or one whose runtime or slide has been closed. */
#define COVERSLIP_INVALID_HANDLE 3
/** The call is not legal in this order (a frame after finish, for example). */
#define COVERSLIP_WRONG_STATE 4
/** Host and library have no version of the contract in common; the message names both. */
#define COVERSLIP_ABI_MISMATCH 5
/** Known to the contract, but not built into this library or this version. */
#define COVERSLIP_UNSUPPORTED 6
/** A pixel format, bit depth or number of planes that this version does not take. */
#define COVERSLIP_UNSUPPORTED_FORMAT 7
/** The memory asked for cannot be had, or exceeds the limit that the host set; the message says how much. */
#define COVERSLIP_OUT_OF_MEMORY 8
/** More slides than max_slides, or more tiles than the slide's max_tiles. */
#define COVERSLIP_LIMIT_REACHED 9
/** No free slots for this frame now. The frame is refused as a whole and remembered; submit it again or go on. */
#define COVERSLIP_BUSY 10
/** The frame is larger than slide_begin announced. */
#define COVERSLIP_FRAME_TOO_LARGE 11
/** The frame lies wholly outside the declared extent. */
#define COVERSLIP_OUT_OF_EXTENT 12
/** The time given ran out; the work goes on. */
#define COVERSLIP_TIMEOUT 13
/** slide_interrupt was called. */
#define COVERSLIP_INTERRUPTED 14
/** The progress callback asked to stop. */
#define COVERSLIP_CANCELLED 15
/** The slide is over and every result has been polled. */
#define COVERSLIP_END_OF_RESULTS 16
/** The caller's buffers do not hold even one result; the message says what it needs. Nothing is lost. */
#define COVERSLIP_BUFFER_TOO_SMALL 17
/** A file could not be read or written; native_code is the operating system's. */
#define COVERSLIP_IO 18
/** The bundle (or a file of it) is missing, truncated or malformed. */
#define COVERSLIP_BUNDLE_INVALID 19
/** The bundle is of a version or kind that this library does not read. */
#define COVERSLIP_BUNDLE_UNSUPPORTED 20
/** A file does not have the digest that its manifest or the host expects. */
#define COVERSLIP_DIGEST_MISMATCH 21
/** The engine asked for does not work here; the message gives the reason. */
#define COVERSLIP_ENGINE_UNAVAILABLE 22
/** The engine's outputs differ from the bundle's reference outputs. */
#define COVERSLIP_SELF_CHECK_FAILED 23
/** A lane did not stop in the time given; its thread is left behind. */
#define COVERSLIP_ENGINE_HUNG 24
/** A defect in the library was caught. The slide is poisoned; the host is not affected. */
#define COVERSLIP_INTERNAL 25

/* ------------------------------------------------------------------------------ constants of fields -- */

/** coverslip_runtime_desc.engine */
#define COVERSLIP_ENGINE_AUTO 0     /**< TensorRT where it works, else the CPU, with a reason. */
#define COVERSLIP_ENGINE_CPU 1      /**< The embedded CPU engine. */
#define COVERSLIP_ENGINE_TENSORRT 2 /**< TensorRT or an error. */

/** coverslip_runtime_desc.flags */
#define COVERSLIP_RUNTIME_ALLOW_LIBRARY_SEARCH 0x1u /**< TensorRT may be found by the loader's search. */
#define COVERSLIP_RUNTIME_PREBUILT_ONLY 0x2u        /**< Never build a plan on this machine. */
#define COVERSLIP_RUNTIME_NORMAL_PRIORITY 0x4u      /**< Workers at the host's priority, not below it. */

/** coverslip_runtime_desc.fallback: what happens when a GPU engine fails */
#define COVERSLIP_FALLBACK_AT_OPEN 0 /**< At open: the CPU. In mid-slide: the remaining tiles fail. */
#define COVERSLIP_FALLBACK_NONE 1    /**< Never: runtime_open fails; in mid-slide as above. */
#define COVERSLIP_FALLBACK_ON_CPU 2  /**< The CPU, also in the middle of a slide; it is loaded at open for that. */

/** coverslip_runtime_desc.precision: of the GPU's engine. The CPU computes in float32. */
#define COVERSLIP_PRECISION_DEFAULT 0  /**< float16. */
#define COVERSLIP_PRECISION_FLOAT32 1  /**< float32, without TF32. */
#define COVERSLIP_PRECISION_FLOAT16 2  /**< float16 where it is safe: norms, softmax, SAE and errors in float32. */
#define COVERSLIP_PRECISION_BFLOAT16 3 /**< bfloat16, with the same exceptions. */

/** coverslip_runtime_info.fallback_reason, and strength of COVERSLIP_ALERT_ENGINE_FALLBACK */
#define COVERSLIP_REASON_NONE 0                /**< The engine asked for runs. */
#define COVERSLIP_REASON_NOT_BUILT_IN 1        /**< This library was built without that engine. */
#define COVERSLIP_REASON_NO_DRIVER 2           /**< No GPU driver that works, or none that sees a GPU. */
#define COVERSLIP_REASON_NO_LIBRARY 3          /**< No TensorRT library, or none that may be looked for. */
#define COVERSLIP_REASON_UNSUPPORTED_VERSION 4 /**< A TensorRT version that is not driven. */
#define COVERSLIP_REASON_UNSUPPORTED_DEVICE 5  /**< A GPU that TensorRT does not run on. */
#define COVERSLIP_REASON_PLAN_REFUSED 6        /**< No plan fits. */
#define COVERSLIP_REASON_SELF_CHECK_FAILED 7   /**< The outputs differ from the reference. */
#define COVERSLIP_REASON_DEVICE_LOST 8         /**< The GPU failed while it ran. */
#define COVERSLIP_REASON_OUT_OF_MEMORY 9       /**< The GPU's memory, or gpu_memory_limit, does not suffice. */
#define COVERSLIP_REASON_DEFECT 10             /**< A defect was caught while the engine was loaded. */

/** coverslip_progress.stage */
#define COVERSLIP_STAGE_VERIFY 0     /**< Reading and hashing the bundle. */
#define COVERSLIP_STAGE_COMPOSE 1    /**< Composing the graph. */
#define COVERSLIP_STAGE_ENGINE 2     /**< Building or loading the engine. */
#define COVERSLIP_STAGE_SELF_CHECK 3 /**< Running the reference tiles. */

/** coverslip_slide_desc.color_state */
#define COVERSLIP_COLOR_UNKNOWN 0 /**< Not stated. */
#define COVERSLIP_COLOR_RAW 1     /**< The sensor's values, white-balanced or not. */
#define COVERSLIP_COLOR_SRGB 2    /**< sRGB. */
#define COVERSLIP_COLOR_VENDOR 3  /**< A vendor's own; color_name names it. */

/** coverslip_slide_desc.flags */
#define COVERSLIP_SLIDE_EMBEDDINGS 0x1u         /**< Results carry the embeddings of every tap. */
#define COVERSLIP_SLIDE_ANALYSE_BACKGROUND 0x2u /**< The model sees every tile, also those without tissue. */

/** coverslip_frame.pixel_format: codes of the Pixel Format Naming Convention (PFNC, EMVA/GenICam) */
#define COVERSLIP_PFNC_RGB8 0x02180014u
#define COVERSLIP_PFNC_BGR8 0x02180015u
#define COVERSLIP_PFNC_RGBA8 0x02200016u /**< Alpha is ignored. */
#define COVERSLIP_PFNC_BGRA8 0x02200017u /**< Alpha is ignored. */

/** coverslip_result.status: how a tile ended */
#define COVERSLIP_TILE_DONE 1       /**< Analysed: features and flags are valid. */
#define COVERSLIP_TILE_BACKGROUND 2 /**< Too little tissue: pixel flags are valid, there are no features. */
#define COVERSLIP_TILE_INCOMPLETE 3 /**< Too few of its pixels arrived (see min_coverage). */
#define COVERSLIP_TILE_REFUSED 4    /**< A refused frame would have touched it, and the pixels never came. */
#define COVERSLIP_TILE_EXPIRED 5    /**< No result within result_deadline_ms. */
#define COVERSLIP_TILE_CANCELLED 6  /**< The slide was cancelled first. */
#define COVERSLIP_TILE_FAILED 7     /**< The engine failed on it, or the slide is poisoned. */

/** Bits of flags_checked, flags_raised and flags_calibrated; scores[] and p_values[] are indexed by the bit's number.
 *  Higher scores are more unusual, but for 0 and 1. The flags from 4 on, but for 10, are checked with a profile only, and
 *  only where it calibrates them. */
#define COVERSLIP_FLAG_BACKGROUND 0x001u          /**< score 0: tissue fraction, 0..1 */
#define COVERSLIP_FLAG_OUT_OF_FOCUS 0x002u        /**< score 1: sharpness in decibels, lower is blurrier */
#define COVERSLIP_FLAG_UNDEREXPOSED 0x004u        /**< score 2: share of black pixels, 0..1; a dim white point raises it too */
#define COVERSLIP_FLAG_OVEREXPOSED 0x008u         /**< score 3: share of pixels with a channel clipped, 0..1 */
#define COVERSLIP_FLAG_COLOR_SHIFT 0x010u         /**< score 4: squared distance of white point and stain from the scanner's */
#define COVERSLIP_FLAG_BANDING 0x020u             /**< score 5: the strongest line in the row and column spectra, dB */
#define COVERSLIP_FLAG_FOREIGN 0x040u             /**< score 6: how far the oddest colours lie outside tissue's, optical density */
#define COVERSLIP_FLAG_NOVEL 0x080u               /**< score 7: embedding far from the scanner's tissue, standard deviations */
#define COVERSLIP_FLAG_SCANNER_SHIFT 0x100u       /**< score 8: embedding displaced where scanners move it, standard deviations */
#define COVERSLIP_FLAG_SCANNER_FEATURES 0x200u    /**< score 9: share of activation on features of other scanners, 0..1 */
#define COVERSLIP_FLAG_FEATURES_UNRELIABLE 0x400u /**< score 10: SAE reconstruction error (FVU scale), >= 0 */
#define COVERSLIP_FLAG_UNSTABLE 0x800u            /**< score 11: change of the features when the colours change, 0..1 */
/** The length of coverslip_result.scores and p_values. */
#define COVERSLIP_SCORE_COUNT 16
/** The number of flags of this version. */
#define COVERSLIP_FLAG_COUNT 12

/** Indices into coverslip_result.measurements: what was measured on the tile's pixels. NaN: not measured. */
#define COVERSLIP_MEASURE_TISSUE 0          /**< Share of the tile that is tissue, 0..1. */
#define COVERSLIP_MEASURE_SHARPNESS 1       /**< Decibels; lower is blurrier. */
#define COVERSLIP_MEASURE_BLACK 2           /**< Share of pixels with every channel black, 0..1. */
#define COVERSLIP_MEASURE_CLIPPED 3         /**< Share of pixels with any channel clipped, 0..1. */
#define COVERSLIP_MEASURE_WHITE_POINT 4     /**< 4..6: red, green, blue, 0..255: 99th percentile of 8 x 8 means. */
#define COVERSLIP_MEASURE_DENSITY_MEAN 7    /**< 7..9: mean optical density of tissue, -log10(level / 255). */
#define COVERSLIP_MEASURE_DENSITY_SPREAD 10 /**< 10..12: its standard deviation between 8 x 8 means. */
#define COVERSLIP_MEASURE_BANDING_ROWS 13   /**< Strongest line in the spectrum of the row means, dB. */
#define COVERSLIP_MEASURE_BANDING_COLUMNS 14 /**< The same of the column means. */
#define COVERSLIP_MEASURE_BANDING_PERIOD 15 /**< Period of the stronger of the two, pixels. */
#define COVERSLIP_MEASURE_FOREIGN 16        /**< Optical density; below 0 nothing is outside tissue's colours. */
#define COVERSLIP_MEASURE_FOREIGN_SHARE 17  /**< Share of the tile outside tissue's colours, 0..1. */
/** The length of coverslip_result.measurements. */
#define COVERSLIP_MEASUREMENT_COUNT 32

/** coverslip_slide_desc.stability_interval: no tile is run twice. */
#define COVERSLIP_STABILITY_NEVER 0xFFFFFFFFu

/** coverslip_slide_summary.scanner_verdict: SCANNER_MISMATCH, when the slide is over */
#define COVERSLIP_SCANNER_UNKNOWN 0    /**< Not over, fewer than 30 tiles or 19 calibration slides, or no profile. */
#define COVERSLIP_SCANNER_MATCHES 1    /**< The slide looks like one of the scanner's slides. */
#define COVERSLIP_SCANNER_MISMATCHES 2 /**< It does not: an alert was given. */

/** coverslip_alert.code */
#define COVERSLIP_ALERT_FOCUS_LOSS 1       /**< A run of tissue tiles of a strip out of focus; strength in tiles. */
#define COVERSLIP_ALERT_COLOR_DRIFT 2      /**< Colours have left those of this slide before; strength: an e-value. */
#define COVERSLIP_ALERT_EMBEDDING_DRIFT 3  /**< The same of the embedding, where scanners move it. */
#define COVERSLIP_ALERT_SCANNER_MISMATCH 4 /**< The whole slide, when it is over; strength: its mean score 8. */
#define COVERSLIP_ALERT_BANDING 5          /**< Of one strip (group_id); strength: share of its tiles. */
#define COVERSLIP_ALERT_LAGGING 6          /**< Results come later than frames are captured; strength in ns. */
#define COVERSLIP_ALERT_OVERRUN 7          /**< Frames were refused; strength in frames. */
#define COVERSLIP_ALERT_ENGINE_FALLBACK 8  /**< Another engine runs than the one asked for, or none any more. */
#define COVERSLIP_ALERT_UNKNOWN_SCANNER 9  /**< The profile does not know scanner_id: no check is calibrated. */

/** coverslip_slide_summary.state */
#define COVERSLIP_SLIDE_OPEN 1     /**< Takes frames. */
#define COVERSLIP_SLIDE_DRAINING 2 /**< Takes no more frames; results still come. */
#define COVERSLIP_SLIDE_FINISHED 3 /**< Every tile has its result. */

/** Levels of the log callback. */
#define COVERSLIP_LOG_ERROR 1
#define COVERSLIP_LOG_WARN 2
#define COVERSLIP_LOG_INFO 3
#define COVERSLIP_LOG_DEBUG 4

/** Waits without end, where a timeout_ms is taken. */
#define COVERSLIP_NO_TIMEOUT 0xFFFFFFFFu

/* ----------------------------------------------------------------------------------- basic structs -- */

/** A runtime: bundle, engine and threads. 0 is never valid. */
typedef uint64_t coverslip_runtime;
/** A slide of a runtime. 0 is never valid. */
typedef uint64_t coverslip_slide;

/** What went wrong. Owned by the caller; written only when a function returns other than OK. */
typedef struct coverslip_error {
    uint32_t struct_size;
    int32_t code;        /**< What the function returned. */
    int64_t native_code; /**< The operating system's, CUDA's or TensorRT's code; 0 where there is none. */
    char message[512];   /**< Expected, found, what to do. */
} coverslip_error;

/** Takes one log line. Called from the library's threads and from [control] functions, never from
 *  [submit] ones; several calls may run at once. `message` is valid during the call. It must not call back. */
typedef void(COVERSLIP_CALL *coverslip_log_fn)(void *user, int32_t level, const char *message);

/** Who the host is and which contract it speaks. */
typedef struct coverslip_host_info {
    uint32_t struct_size;
    uint32_t abi_major;      /**< COVERSLIP_ABI_MAJOR of the header the host was compiled with. */
    uint32_t abi_minor_min;  /**< The lowest minor version that the host can work with. */
    uint32_t abi_minor;      /**< COVERSLIP_ABI_MINOR of that header. */
    const char *name;        /**< For logs: product and version. May be NULL. */
    coverslip_log_fn log;    /**< May be NULL: no log. */
    void *log_user;          /**< Passed to log. */
} coverslip_host_info;

/* --------------------------------------------------------------------------------- runtime structs -- */

/** What to open. */
typedef struct coverslip_runtime_desc {
    uint32_t struct_size;
    int32_t engine;                /**< COVERSLIP_ENGINE_*. */
    const char *bundle_path;       /**< The bundle's directory. Required. */
    const char *profile_path;      /**< The profile's directory; NULL: uncalibrated. */
    const char *plan_cache_path;   /**< A folder: where GPU plans are kept. A file: the plan. NULL: nowhere. */
    const char *tensorrt_library;  /**< Absolute path; NULL: see ALLOW_LIBRARY_SEARCH. */
    const char *gpu_uuid;          /**< NULL: the first GPU. */
    const uint8_t *bundle_digest;  /**< 32 bytes: sha256 of manifest.json that the host expects; NULL: any. */
    const uint8_t *profile_digest; /**< 32 bytes; NULL: any. */
    const uint8_t *plan_digest;    /**< 32 bytes: sha256 of the plan's file, then none is built; NULL: any. */
    const uint32_t *cpus;          /**< The logical CPUs that the workers may run on; NULL: all of the process. */
    uint32_t cpu_count;            /**< Length of cpus. */
    uint32_t flags;                /**< COVERSLIP_RUNTIME_*. */
    uint32_t max_threads;          /**< Lanes on the CPU, or threads that prepare tiles beside a GPU; 0: one per
                                        allowed CPU. At most 256. */
    uint32_t max_slides;           /**< Slides open at once; 0: 4. At most 64. */
    int32_t fallback;              /**< COVERSLIP_FALLBACK_*. */
    int32_t precision;             /**< COVERSLIP_PRECISION_*, on the GPU. */
    uint64_t memory_limit;         /**< Bytes of host memory for the slots and records of all slides; 0: 4 GiB. */
    uint64_t gpu_memory_limit;     /**< Bytes that plan, contexts and buffers may take together; 0: no limit. */
    uint32_t max_batch;            /**< Tiles per batch on the GPU; 0: the plan's, 32 when built. At most 256. */
    uint32_t reserved;             /**< 0. */
} coverslip_runtime_desc;

/** How far runtime_open is. */
typedef struct coverslip_progress {
    uint32_t struct_size;
    int32_t stage;    /**< COVERSLIP_STAGE_*. */
    double fraction;  /**< Of this stage, 0..1. */
} coverslip_progress;

/** Called from runtime_open on the caller's thread. Returns 0 to go on, anything else to cancel. */
typedef int32_t(COVERSLIP_CALL *coverslip_progress_fn)(void *user, const coverslip_progress *progress);

/** What was opened. */
typedef struct coverslip_runtime_info {
    uint32_t struct_size;
    int32_t engine;                   /**< The engine that runs: COVERSLIP_ENGINE_CPU or _TENSORRT. */
    int32_t fallback_reason;          /**< COVERSLIP_REASON_*. */
    uint32_t lanes;                   /**< Threads that run the graph. */
    uint32_t max_batch;               /**< Tiles per batch at most. */
    uint32_t side;                    /**< Pixels of the model's input, wide and high. */
    double mpp;                       /**< Micrometres per pixel of the model's input. */
    uint32_t tap_count;               /**< Embeddings per tile. */
    uint32_t tap_widths[16];          /**< Their widths, in the order in which they follow each other. */
    uint32_t embedding_width;         /**< The sum of tap_widths: floats per tile. */
    uint32_t feature_count;           /**< SAE features in all. */
    uint32_t features_per_tile;       /**< Features reported per tile at most, strongest first. */
    double self_check_error;          /**< The largest 1 - cosine over taps and reference tiles. */
    uint8_t bundle_digest[32];        /**< sha256 of the bundle's manifest. */
    uint8_t profile_digest[32];       /**< Zero without a profile. */
    uint8_t configuration_digest[32]; /**< sha256 of the desc as the library understood it. */
    char bundle_name[128];
    char plugin_version[32];
    char plugin_commit[48];    /**< The source's commit, or "unknown". */
    char engine_version[64];   /**< Library and version that run the graph. */
    char driver_version[64];   /**< Empty on the CPU. */
    char gpu_uuid[64];         /**< Empty on the CPU. */
    char fallback_message[256];
    uint8_t plan_digest[32];   /**< sha256 of the GPU plan's file; zero on the CPU, and for a plan kept nowhere. */
    int32_t precision;         /**< COVERSLIP_PRECISION_FLOAT32, _FLOAT16 or _BFLOAT16: what runs. */
    uint32_t reserved;         /**< 0. */
} coverslip_runtime_info;

/** What one SAE feature means, as far as the lab has labelled it. */
typedef struct coverslip_feature_info {
    uint32_t struct_size;
    uint32_t index;
    double correlation;  /**< Pearson's r with the counts of the cell type; NaN: not measured. */
    uint64_t tiles;      /**< Tiles that r was measured on; 0: not measured. */
    char label[128];     /**< Empty: not labelled. Of a pruned SAE without labels, the original number. */
    char cell_type[64];  /**< The cells whose counts it follows; empty: not measured. */
    char dataset[128];   /**< What the tiles are called that r was measured on. */
} coverslip_feature_info;

/** Running totals of a runtime, since it was opened. */
typedef struct coverslip_runtime_stats {
    uint32_t struct_size;
    uint32_t slides_open;
    uint64_t frames_accepted;
    uint64_t frames_refused;
    uint64_t results[8];       /**< By COVERSLIP_TILE_*; [0] is their sum. */
    uint64_t tiles_in_flight;  /**< Opened and not yet ended. */
    uint64_t batches;
    uint64_t slots;            /**< Slots reserved by the open slides. */
    uint64_t slots_free;
    uint64_t memory_bytes;     /**< Reserved by the open slides: a bound, not a sample. */
    uint64_t submit_ns;        /**< Time spent in [submit] functions. */
    uint64_t prep_ns;          /**< Image QC, gate, resampling. */
    uint64_t lane_ns;          /**< Running the graph, summed over lanes. */
    uint64_t judge_ns;         /**< Scores, flags, alerts. */
    uint32_t budget_percent;
    uint32_t reserved;
} coverslip_runtime_stats;

/* ----------------------------------------------------------------------------------- slide structs -- */

/** What is about to be scanned. */
typedef struct coverslip_slide_desc {
    uint32_t struct_size;
    int32_t color_state;           /**< COVERSLIP_COLOR_*. */
    const char *scanner_id;        /**< Required: ties the slide to a profile and a log. */
    const char *slide_id;          /**< Required. */
    const char *color_name;        /**< For COVERSLIP_COLOR_VENDOR; else NULL. */
    double mpp_x, mpp_y;           /**< Micrometres per pixel of the frames, 0.01 to 100. */
    int64_t extent_x, extent_y;    /**< Upper left corner of what will be scanned; also the grid's origin. */
    uint64_t extent_width;         /**< Pixels; 0 with extent_height 0: unknown (the grid's origin stays). */
    uint64_t extent_height;
    uint32_t max_frame_width;      /**< The largest frame. Required. */
    uint32_t max_frame_height;
    uint64_t spread_width;         /**< The box within which tiles may be partial at the same time, beyond the */
    uint64_t spread_height;        /**< frame: for strips, the slide's width and a strip's height. 0: the frame. */
    uint32_t max_tiles;            /**< Places of the grid that can be opened; 0: the extent's, or 262,144. */
    uint32_t max_unpolled;         /**< Results kept for polling before the slide slows down; 0: 65,536. */
    uint32_t assembly_timeout_ms;  /**< From a tile's last pixel until it goes on as it is; 0: until finish. */
    uint32_t result_deadline_ms;   /**< From a tile's completeness until EXPIRED; 0: never. */
    double min_coverage;           /**< Share of its pixels that a tile needs to be analysed; 0: 0.5. Up to 1. */
    double alpha;                  /**< False-alarm level of calibrated flags; 0: 0.01. At most 0.5. */
    uint32_t flags;                /**< COVERSLIP_SLIDE_*. */
    uint32_t stability_interval;   /**< With a profile, one of so many tiles is run twice for UNSTABLE; 0: 64. */
} coverslip_slide_desc;

/** One memory plane of a frame. */
typedef struct coverslip_plane {
    const uint8_t *data;  /**< The first pixel of the first row. */
    uint64_t stride;      /**< Bytes from row to row; at least a row. */
    uint64_t size;        /**< Bytes readable from data; at least (height - 1) * stride + a row. */
} coverslip_plane;

/** One piece of the slide, as captured. */
typedef struct coverslip_frame {
    uint32_t struct_size;
    uint32_t pixel_format;     /**< COVERSLIP_PFNC_*. */
    uint32_t bit_depth;        /**< Bits per channel; 0: the format's. Version 1 takes 8. */
    uint32_t plane_count;      /**< Version 1 takes 1. */
    int64_t x, y;              /**< Upper left pixel in the acquisition plane. */
    uint32_t width, height;
    coverslip_plane planes[4];
    uint64_t frame_id;         /**< The host's; results name the first and the last of a tile. */
    int64_t capture_time_ns;   /**< The host's clock; 0: unknown, then LAGGING is not checked. */
    uint64_t group_id;         /**< The strip or swath; 0: none. */
    uint32_t pass;             /**< 0, and one more for each time a region is scanned again. At most 65,535. */
    int32_t focal_plane;       /**< 0. Others: UNSUPPORTED in version 1. */
} coverslip_frame;

/** One active SAE feature of a tile. */
typedef struct coverslip_feature {
    uint32_t index;  /**< 0 .. feature_count - 1. */
    float value;     /**< Activation; not 0, and below 0 only of SAEs whose features have a sign. */
} coverslip_feature;

/** How one tile ended, in one pass. */
typedef struct coverslip_result {
    uint64_t sequence;         /**< 0, 1, 2 … in the order in which this slide's tiles ended. */
    int32_t column, row;       /**< Place in the grid. */
    int64_t x, y;              /**< Upper left pixel in the acquisition plane. */
    uint32_t width, height;    /**< In pixels of the acquisition plane. */
    uint32_t pass;
    int32_t status;            /**< COVERSLIP_TILE_*. */
    uint32_t flags_checked;    /**< What was evaluated. A flag that was not checked has not passed. */
    uint32_t flags_raised;
    uint32_t flags_calibrated; /**< Of those checked, which against this scanner's profile: see p_values. */
    float coverage;            /**< Share of its pixels that arrived, 0..1. */
    float scores[COVERSLIP_SCORE_COUNT]; /**< By flag bit; NaN: not measured. */
    float reconstruction_error;          /**< Of the SAE: ||x - x'||^2 over the bundle's mean; NaN if not DONE. */
    uint32_t active_count;     /**< SAE features that are active in all (of which the strongest are given). */
    uint32_t feature_offset;   /**< Into coverslip_result_batch.features. */
    uint32_t feature_count;
    uint32_t embedding_offset; /**< Into coverslip_result_batch.embeddings, in floats. */
    uint32_t embedding_count;  /**< 0, or runtime_info's embedding_width. */
    uint64_t first_frame_id;   /**< The frames that gave it pixels. */
    uint64_t last_frame_id;
    uint64_t group_id;         /**< Of the first of these. */
    uint64_t latency_ns;       /**< From its last pixel to this result. */
    uint64_t engine_epoch;     /**< Changes when another engine takes over. */
    float p_values[COVERSLIP_SCORE_COUNT]; /**< By flag bit, of those calibrated; raised where <= flag_alpha. Else NaN. */
    float measurements[COVERSLIP_MEASUREMENT_COUNT]; /**< By COVERSLIP_MEASURE_*. */
} coverslip_result;

/** Buffers for slide_poll and slide_wait. */
typedef struct coverslip_result_batch {
    uint32_t struct_size;
    uint32_t record_size;         /**< sizeof(coverslip_result): the distance of records. */
    coverslip_result *records;
    coverslip_feature *features;  /**< May be NULL with capacity 0: features are then left out (count 0). */
    float *embeddings;            /**< May be NULL with capacity 0: embeddings are then left out. */
    uint32_t record_capacity;
    uint32_t feature_capacity;
    uint32_t embedding_capacity;  /**< In floats. */
    uint32_t record_count;        /**< Out. */
    uint32_t feature_count;       /**< Out. */
    uint32_t embedding_count;     /**< Out, in floats. */
} coverslip_result_batch;

/** Something goes wrong on this slide. Words for the operator are the host's. */
typedef struct coverslip_alert {
    uint64_t sequence;       /**< 0, 1, 2 … within the slide. */
    int32_t code;            /**< COVERSLIP_ALERT_*. */
    uint32_t calibrated;     /**< 1: against this scanner's profile; 0: by a general rule. */
    int64_t x, y;            /**< The box in the acquisition plane. */
    uint64_t width, height;  /**< 0: the whole slide. */
    uint64_t since_sequence; /**< The first result that belongs to it. */
    uint64_t since_frame_id; /**< Its first frame. */
    double strength;         /**< What was measured, in the unit of threshold. */
    double threshold;        /**< What it was held against. */
    int64_t time_ns;         /**< Since slide_begin. */
} coverslip_alert;

/** Buffer for slide_alerts. */
typedef struct coverslip_alert_batch {
    uint32_t struct_size;
    uint32_t record_size;  /**< sizeof(coverslip_alert). */
    coverslip_alert *records;
    uint32_t record_capacity;
    uint32_t record_count; /**< Out. */
} coverslip_alert_batch;

/** Counters and provenance of one slide. At every moment opened = results[0] + in_flight. */
typedef struct coverslip_slide_summary {
    uint32_t struct_size;
    int32_t state;                /**< COVERSLIP_SLIDE_*. */
    uint32_t cancelled;           /**< 1 after slide_cancel. */
    uint32_t poisoned;            /**< 1 after a caught defect. */
    uint64_t opened;              /**< Tiles that got a pixel or that a refused frame would have touched, per pass. */
    uint64_t in_flight;
    uint64_t results[8];          /**< By COVERSLIP_TILE_*; [0] is their sum. */
    uint64_t unpolled;            /**< Results that wait for slide_poll. */
    uint64_t frames_accepted;
    uint64_t frames_refused;
    uint64_t pixels_used;
    uint64_t pixels_duplicate;    /**< Had arrived before, from an overlapping frame. */
    uint64_t pixels_late;         /**< Of tiles that had already gone on. */
    uint64_t pixels_outside;      /**< Outside the extent. */
    uint64_t retired_early;       /**< Partial tiles that went on because slots were needed. */
    uint64_t alerts;
    uint64_t flags_checked[16];   /**< Tiles by flag bit. */
    uint64_t flags_raised[16];
    uint64_t latency_p50_ns;      /**< Of analysed tiles, from last pixel to result; to 12 %. */
    uint64_t latency_p99_ns;
    uint64_t elapsed_ns;          /**< Since slide_begin. */
    uint64_t memory_bytes;        /**< Reserved for this slide. */
    uint64_t slots;
    double alpha;
    int32_t engine;
    int32_t fallback_reason;
    uint8_t bundle_digest[32];
    uint8_t profile_digest[32];
    uint8_t configuration_digest[32]; /**< sha256 of runtime and slide descs as understood. */
    char plugin_version[32];
    char plugin_commit[48];
    char engine_version[64];
    char driver_version[64];
    char gpu_uuid[64];
    double flag_alpha[16];    /**< By flag bit: alpha, or 1 / (n + 1) with too few calibration tiles; 0: uncalibrated. */
    double scanner_p_value;   /**< NaN while the verdict is UNKNOWN. */
    int32_t scanner_verdict;  /**< COVERSLIP_SCANNER_*. */
    uint32_t reserved;        /**< 0. */
} coverslip_slide_summary;

/* --------------------------------------------------------------------------------------- functions -- */

/** The functions. The table grows at its end only: check struct_size (or abi_minor) before using a function
 *  newer than 1.0. */
typedef struct coverslip_api {
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t reserved;

    /** [any] The table of an extension, named "coverslip.<name>/<version>", or NULL where it is not known.
     *  Version 1.0 has none. */
    const void *(COVERSLIP_CALL *get_extension)(const char *name);

    /** [control] Loads and verifies the bundle, picks and checks the engine, starts the threads. Takes
     *  seconds (minutes where a GPU plan is built); reports to `progress` (may be NULL) on this thread.
     *  The codes of the bundle are those of the profile too; a profile for another bundle is BUNDLE_INVALID.
     *  @return OK; IO, BUNDLE_INVALID, BUNDLE_UNSUPPORTED, DIGEST_MISMATCH; ENGINE_UNAVAILABLE,
     *          SELF_CHECK_FAILED; UNSUPPORTED (a field of a later version); OUT_OF_MEMORY; CANCELLED. */
    int32_t(COVERSLIP_CALL *runtime_open)(const coverslip_runtime_desc *desc, coverslip_progress_fn progress,
                                          void *progress_user, coverslip_runtime *out, coverslip_error *error);

    /** [any] What was opened. Constant, but for the engine after a fallback. @return OK. */
    int32_t(COVERSLIP_CALL *runtime_info)(coverslip_runtime runtime, coverslip_runtime_info *out,
                                          coverslip_error *error);

    /** [any] What feature `index` means. @return OK; INVALID_ARGUMENT when index >= feature_count. */
    int32_t(COVERSLIP_CALL *feature_info)(coverslip_runtime runtime, uint32_t index,
                                          coverslip_feature_info *out, coverslip_error *error);

    /** [any] Running totals. @return OK. */
    int32_t(COVERSLIP_CALL *runtime_stats)(coverslip_runtime runtime, coverslip_runtime_stats *out,
                                           coverslip_error *error);

    /** [any] Lets the engine use at most `percent` (1..100) of the time of its cores or GPU, from the next
     *  batch on. @return OK. */
    int32_t(COVERSLIP_CALL *runtime_set_budget)(coverslip_runtime runtime, uint32_t percent,
                                                coverslip_error *error);

    /** [control] Cancels and ends every open slide, stops and joins every thread. The handle is gone
     *  whatever is returned. Waits timeout_ms for batches that run. The CPU engine's library keeps an idle pool
     *  of threads, one for the whole process, made at the first runtime_open.
     *  @return OK; ENGINE_HUNG: a lane did not return, its thread and its memory are left behind. */
    int32_t(COVERSLIP_CALL *runtime_close)(coverslip_runtime runtime, uint32_t timeout_ms,
                                           coverslip_error *error);

    /** [control] Reserves all memory of a slide. Does not wait for other slides.
     *  @return OK; OUT_OF_MEMORY (what the slide needs does not fit its share of memory_limit, or cannot be
     *          had); LIMIT_REACHED (max_slides, or an extent of more than max_tiles tiles);
     *          ENGINE_UNAVAILABLE (the engine was lost and there is no other: open another runtime). */
    int32_t(COVERSLIP_CALL *slide_begin)(coverslip_runtime runtime, const coverslip_slide_desc *desc,
                                         coverslip_slide *out, coverslip_error *error);

    /** [submit] Copies a frame's pixels into its tiles; the frame's memory is free again on return. A frame
     *  is taken as a whole or not at all. A frame that is refused with BUSY is remembered: its tiles end as
     *  REFUSED unless their pixels come later. Pixels outside the extent are counted and left out.
     *  @return OK; BUSY; FRAME_TOO_LARGE; OUT_OF_EXTENT; UNSUPPORTED_FORMAT; UNSUPPORTED (focal_plane);
     *          LIMIT_REACHED (max_tiles); WRONG_STATE (after finish or cancel). */
    int32_t(COVERSLIP_CALL *slide_submit)(coverslip_slide slide, const coverslip_frame *frame,
                                          coverslip_error *error);

    /** [submit] The same for hosts that may wait: BUSY only after timeout_ms without room.
     *  @return as slide_submit; INTERRUPTED. */
    int32_t(COVERSLIP_CALL *slide_submit_wait)(coverslip_slide slide, const coverslip_frame *frame,
                                               uint32_t timeout_ms, coverslip_error *error);

    /** [control] No more frames: partial tiles go on as they are, and this call waits until every tile has
     *  its result. May be called again after a TIMEOUT. The results are polled as before; when more than
     *  max_unpolled wait, poll on another thread or between calls.
     *  @return OK; TIMEOUT: the slide goes on draining; INTERRUPTED. */
    int32_t(COVERSLIP_CALL *slide_finish)(coverslip_slide slide, uint32_t timeout_ms, coverslip_error *error);

    /** [any] No more frames, and every tile without a result ends as CANCELLED. Does not wait.
     *  @return OK, also when it was cancelled or finished before. */
    int32_t(COVERSLIP_CALL *slide_cancel)(coverslip_slide slide, coverslip_error *error);

    /** [any] Takes the results that are there, oldest first, as many as fit. Each result is given once. With
     *  several threads polling, each gets others. The counts are written also when the code is
     *  END_OF_RESULTS (then 0). @return OK (record_count may be 0); END_OF_RESULTS; BUFFER_TOO_SMALL. */
    int32_t(COVERSLIP_CALL *slide_poll)(coverslip_slide slide, coverslip_result_batch *batch,
                                        coverslip_error *error);

    /** [any] The same, but waits until there is at least one. Blocks for at most timeout_ms.
     *  @return as slide_poll; TIMEOUT; INTERRUPTED. */
    int32_t(COVERSLIP_CALL *slide_wait)(coverslip_slide slide, coverslip_result_batch *batch,
                                        uint32_t timeout_ms, coverslip_error *error);

    /** [any] Wakes every thread that is in slide_wait, slide_submit_wait or slide_finish of this slide: they
     *  return INTERRUPTED. With none there, the next such call returns it at once. @return OK. */
    int32_t(COVERSLIP_CALL *slide_interrupt)(coverslip_slide slide, coverslip_error *error);

    /** [any] Takes the alerts that are there, oldest first, as many as fit. Each is given once. Of a
     *  slide 1,024 are kept unread; what comes beyond is only counted in the summary. @return OK. */
    int32_t(COVERSLIP_CALL *slide_alerts)(coverslip_slide slide, coverslip_alert_batch *batch,
                                          coverslip_error *error);

    /** [any] Counters and provenance, at any time. @return OK. */
    int32_t(COVERSLIP_CALL *slide_summary)(coverslip_slide slide, coverslip_slide_summary *out,
                                           coverslip_error *error);

    /** [control] Ends the slide: cancels what is left, drops what was not polled, frees its memory as soon
     *  as no lane uses it. Does not wait for the engine. @return OK. */
    int32_t(COVERSLIP_CALL *slide_end)(coverslip_slide slide, coverslip_error *error);
} coverslip_api;

/** [any] The one exported symbol: gives the function table to a host whose contract fits. Fast: touches no
 *  GPU, starts no thread, reads no file. May be called again, by several hosts in one process; each runtime
 *  logs to the host that called last before it was opened.
 *  @return OK; ABI_MISMATCH: the message names both versions. */
COVERSLIP_IMPORT int32_t COVERSLIP_CALL coverslip_get_api(const coverslip_host_info *host,
                                                          const coverslip_api **api, coverslip_error *error);

/** The type of coverslip_get_api, for hosts that look it up with dlsym or GetProcAddress. */
typedef int32_t(COVERSLIP_CALL *coverslip_get_api_fn)(const coverslip_host_info *host,
                                                      const coverslip_api **api, coverslip_error *error);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* COVERSLIP_H */
