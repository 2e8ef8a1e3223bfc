/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * coverslip.h — the C contract of Coverslip, version 1.1.
 *
 * Coverslip is a shared library that slide-scanner software loads. The host opens a bundle (a pathology
 * foundation model with a sparse autoencoder, SAE) and submits the frames of a slide as they are captured. It
 * gets back SAE features and QC flags for each tile of the slide, and alerts for the slide while it is still
 * on the stage.
 *
 * THE LIFE OF A SLIDE
 *
 *     coverslip_get_api            once; the only exported symbol
 *     runtime_open                 once; loads and checks the bundle, starts the threads
 *       slide_begin                per slide; sizes and reserves its memory
 *         slide_submit  …          per frame, on the acquisition thread; never blocks
 *         slide_poll / slide_wait  on any thread, as results arrive
 *         slide_alerts             likewise
 *       slide_finish               no more frames; waits for the rest
 *       slide_summary              counters, digests, versions
 *       slide_report_json          the same and more as one text (1.1)
 *       slide_end                  the handle becomes invalid
 *     runtime_close                joins every thread
 *
 * RULES THAT HOLD FOR EVERY FUNCTION
 *
 * Threads. Each function carries one tag:
 *   [any]      may be called on any thread, at any time, and on several threads at once.
 *   [control]  may be called on any thread, but not from a callback of this library. It may block for as long
 *              as its text says.
 *   [submit]   may be called on one thread at a time per slide; different slides may run in parallel. It never
 *              blocks, allocates, logs or touches a GPU, unless its text says that it waits.
 * Ownership. The library owns what it returns by pointer (the function table, extension tables). It stays
 *   valid until the process ends; the host never frees it. The host owns every buffer and string it passes
 *   in. The library keeps no pointer to one after the call returns. The two exceptions are the log callback
 *   and its `user` pointer: they must stay valid until every runtime opened after the coverslip_get_api call
 *   that passed them is closed.
 * Versions. A minor version only appends: fields to structs, functions to the table, constants. Nothing moves or
 *   changes its meaning, and a host compiled against 1.0 runs as it did. What 1.1 adds is marked "1.1". "Not built
 *   yet" marks what this library knows by name and does not do: an input other than 0 or NULL is refused with
 *   UNSUPPORTED (a pixel format with UNSUPPORTED_FORMAT), and an output is 0. A value outside the range that the
 *   text states is INVALID_ARGUMENT all the same.
 * Structs. Each begins with `struct_size`, which the host sets to sizeof. It tells which fields the host knows.
 *   The library reads at most that many bytes of an input. Missing fields count as zero. Bytes that the library
 *   does not know must be zero, else it returns INVALID_STRUCT. It writes at most that many bytes of an output;
 *   fields that it does not know stay as the host left them. A size that ends inside a field is INVALID_STRUCT,
 *   for inputs and outputs: a field is known as a whole or not at all. Two structs may end elsewhere too: a frame
 *   after any of its planes, and coverslip_error inside its message, which is then cut to fit. Zero means "the
 *   default" wherever a default is named. COVERSLIP_INIT(s) zeroes a struct and sets its size.
 * Records. Results and alerts lie in arrays. Their batch states `record_size`, the host's sizeof of one record,
 *   which is also the distance to the next. A record that the host knows shorter is cut at the end of a field;
 *   one that it knows longer is written as far as the library knows it. INVALID_STRUCT: a size below that of 1.0,
 *   inside a field, or not a multiple of 8.
 * Errors. Every function returns a COVERSLIP_* code; COVERSLIP_OK is 0. Unless a function says otherwise, it
 *   writes nothing to its outputs on an error. `error` may be NULL. Otherwise it receives the code and a
 *   message that says what was expected, what was found and what to do. Any function may return
 *   INVALID_ARGUMENT (a null pointer, a value out of range), INVALID_STRUCT, INVALID_HANDLE, INTERNAL and, in a
 *   forked child, WRONG_STATE; the texts below name the others.
 * Handles. A handle is a 64-bit value. It is not reused within 2^31 lives of its place. 0 is never valid. A
 *   stale handle is refused with INVALID_HANDLE.
 * Panics. A defect inside the library is caught at this boundary and returned as INTERNAL. It poisons the slide
 *   it happened in, whose remaining tiles end as FAILED, and nothing else.
 * The host's process. The library never writes to stdout or stderr (one exception: see Memory). It sets no signal
 *   handler, locale, floating-point mode, atexit handler or allocator. It starts no thread before runtime_open. It
 *   stays mapped after dlclose, so a thread that once called it may end later than that.
 * Signals. The library installs no handler, raises no signal on purpose and leaves the masks of the host's threads as
 *   they are. Its own threads, those of its engines among them, block every signal but the six of a thread's own faults
 *   (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS). So a signal sent to the process is the host's, whenever the
 *   host blocks it for sigwait or signalfd, and a crash in the library reaches the host's crash handler: if it came
 *   blocked, the process would end without it. The handler then runs on the library's thread. A profiler that samples
 *   by signals sees none of these threads.
 * Threads of the host. pthread_cancel of a thread in a call waits until the call has returned (glibc; elsewhere do not
 *   cancel such a thread). Asynchronous cancelability must be off in a call. A callback returns: no exception, longjmp
 *   or pthread_exit may leave it. A call takes up to 64 KiB of its thread's stack, runtime_open up to 512 KiB.
 *   Threads of the library are ordinary ones, also where a thread of real time has called
 *   runtime_open, unless COVERSLIP_RUNTIME_NORMAL_PRIORITY is set.
 * Fork. A child made by fork() after the first runtime_open has none of the library's threads. There every function,
 *   coverslip_get_api too, returns WRONG_STATE at once and does nothing; get_extension returns NULL. The child may
 *   exit, exec or go on without the library; the parent's runtimes, slides and workers go on. A worker ends with the
 *   process that opened its runtime, whatever children that has. CUDA does not survive fork() at all: a host that forks
 *   and uses a GPU in this process must fork before its first use of it. A child made before the first
 *   runtime_open may use the library as any process. A child of vfork() must only call exec or _exit.
 * Memory. slide_begin reserves what a slide needs, or returns OUT_OF_MEMORY; slide_submit allocates nothing, but for
 *   the loader, which takes some hundred bytes at a thread's first call of the library, whichever that is; where
 *   they cannot be had, the call returns OUT_OF_MEMORY. What the library allocates from slide_begin to slide_end can
 *   be refused by the system: the call returns OUT_OF_MEMORY, or the tile is FAILED and the log says why. A run of a
 *   ViT on the CPU asks for no memory. Some of what is allocated cannot be refused: what rten, which runs imported
 *   ONNX graphs on the CPU and asks for memory in every run, the resampler and the channels between its threads
 *   allocate, the counts of values that threads share, what the start of a thread takes beside its stack, and what
 *   the start of a worker and a message to or from it take. It is allocated only if the most that it takes can be
 *   had at that moment; runtime_open and slide_begin ask so for the runs of all lanes at once. The process is
 *   aborted, with a line on stderr, only where that memory goes to another thread in the moment between the question
 *   and the use, where the graph of an ONNX bundle takes more than was reckoned, and where memory ends in
 *   runtime_open while it reads and checks the files of bundle and profile, composes the graph, or makes the small
 *   objects of the runtime. What CUDA and TensorRT do in this process without memory is theirs: a worker has them in
 *   a process of its own. A host under a limit (address space, job, no overcommitment) should leave room:
 *   memory_limit bounds only the memory of slides. runtime_info.engine_memory_bytes says how much the engine takes.
 * Trust. A digest proves that a file did not change, not who made it. The library hashes every file of a bundle
 *   and profile before it uses it, checks sizes against limits, and runs no code from them. Before a model runs, what
 *   it needs is inferred for its batch: a model that needs more than 4 GiB of values and 16 times its weights, or
 *   more than 2^40 operations and 2^14 for each weight, is refused with BUNDLE_INVALID, and one whose sizes cannot be
 *   inferred with BUNDLE_UNSUPPORTED; memory below that is asked for in runtime_open, which returns OUT_OF_MEMORY
 *   where it is not given. What is left: within these bounds a hostile bundle may use the memory and the time of an
 *   honest one, and its numbers mean nothing; memory that the operating system promised in runtime_open and cannot
 *   give later ends the process; TensorRT trusts a plan as code. Open only what came from someone you trust: name the
 *   keys of those who make your bundles and profiles (trusted_keys) and set COVERSLIP_RUNTIME_REQUIRE_SIGNATURE, or
 *   pass the digests that you expect. The signature is checked before anything else is read, and the bytes that were
 *   checked are the bytes that are used. Plans are built on the scanner and are not signed: with the flag set, they
 *   are used only from a place that no other user but root can write to.
 * A lost GPU. CUDA's errors 700, 702, 710 and 714 to 719 end CUDA for the whole process: by NVIDIA's documentation
 *   it must be terminated and started anew to use CUDA again. A GPU engine that runs in the host's process shares
 *   the device's primary context with it, so such an error of either ends the GPU work of both, a crash in the
 *   driver ends the host, and a kernel that hangs leaves a thread behind. After the loss, tiles go on as
 *   coverslip_runtime_desc.fallback says. A runtime that is then opened in the same process can use the CPU; to use
 *   the GPU again, start the process again. A host that knows of workers (1.1) has none of this where the worker's
 *   program lies beside the library.
 * Workers (1.1; Linux and Windows). With isolation AUTO or ALWAYS the engine runs in coverslip-worker, a process that the
 *   library starts in runtime_open and that ends with the runtime, or with the host, however that ends. Nothing of CUDA's
 *   is then loaded into the host by this library. A worker that ends, hangs for worker_timeout_ms, loses its GPU or breaks
 *   its protocol is killed and started again; its batches are run again, and halved until the tile is found that ends
 *   two workers by itself: that tile is FAILED, and no other. The third such end within a minute hands over as fallback
 *   says; ends that a tile is to blame for do not count. The host gets COVERSLIP_ALERT_WORKER_RESTARTED. On Linux, write
 *   to no descriptor that you did not open, and do not close it: the library notices, and starts the worker again. The
 *   host may reap the worker as any child, or ignore SIGCHLD. The worker has none of the host's descriptors, signal masks
 *   and dispositions, and a group of processes of its own. On Windows the worker is in a job, which may be one within the
 *   host's; it has no window and none of the host's handles, and the system lets nobody else close the library's handles
 *   of it. On both it has of the environment at runtime_open what docs/guide/worker.md names; change it on no other thread
 *   meanwhile. Name a plan_cache_path: without one every start builds its plan again.
 * Text. Text is UTF-8 and NUL-terminated. Paths are too, also on Windows. Text that does not fit an output is
 *   cut at the end of a character.
 * Times are in nanoseconds; durations whose names end in _ms are in milliseconds.
 *
 * PIXELS AND TILES
 *
 * The acquisition plane is measured in whole pixels of the scanner, x to the right and y down; negative
 * coordinates are legal. The slide is cut into a grid of tiles, each round(side * model mpp / slide mpp)
 * pixels wide and high (separately in x and y), tile (0, 0) with its upper left corner at the grid's origin.
 * A frame is whatever the host has: a tile of its own size, a strip or a camera field, with or without overlap.
 * Its pixels go to the tiles that they cover. Where frames overlap within a pass, the first to arrive wins.
 * Every tile that a frame lies on, a refused one too, ends in exactly one
 * result per pass (see coverslip_result.status).
 *
 * A slide is colour, grey (Mono), or one channel at a time (Mono with coverslip_frame.channel); its first frame decides.
 * Grey tissue goes to the model as grey; what only colours show (MEASURE_DENSITY_*, MEASURE_FOREIGN*, and with them
 * COLOR_SHIFT, FOREIGN and UNSTABLE) is not measured and not checked. Pixels that were never captured (mask, alpha 0, the
 * value of not_scanned) count as not arrived: another frame may still bring them, and a tile that waits for them goes on
 * as any partial tile does. Of accepted frames, pixels_used + _duplicate + _late + _outside + _not_scanned are all pixels.
 *
 * MOSAICS
 *
 * A Bayer frame is demosaiced by the filters of Malvar, He and Cutler (ICASSP 2004) in whole levels. Its edges are
 * mirrored about their last pixel. A pixel that needs one that was not captured was not captured. A frame with a group_id
 * gives its last two rows to their tiles only when it is known what follows: with the next frame of the group, which
 * shares them as a halo if it is COVERSLIP_FRAME_CONTIGUOUS and has the same x, width, format and pass, and begins where
 * this one ends; or else alone, when that frame does not fit, when two other groups have come, when a tile goes on without
 * them, or at the lower edge of the extent. So strips give the pixels that one frame of all of them would give.
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

/** How the one symbol is imported. A host that loads the library by path does not need it. */
#if defined(_WIN32) && !defined(COVERSLIP_NO_IMPORT)
#define COVERSLIP_IMPORT __declspec(dllimport)
#else
#define COVERSLIP_IMPORT
#endif

/** The version of this header. Another major version is another contract; minor versions only append. */
#define COVERSLIP_ABI_MAJOR 1u
#define COVERSLIP_ABI_MINOR 1u

/** Zeroes a struct of this header and sets its struct_size. */
#define COVERSLIP_INIT(s) (memset(&(s), 0, sizeof(s)), (s).struct_size = (uint32_t)sizeof(s))

/* ------------------------------------------------------------------------------------------- codes -- */

/** Success. */
#define COVERSLIP_OK 0
/** A null pointer, or a value out of its range. */
#define COVERSLIP_INVALID_ARGUMENT 1
/** A struct_size or record_size that is too small or ends inside a field, or non-zero bytes beyond what this library
 *  knows. */
#define COVERSLIP_INVALID_STRUCT 2
/** Not a handle, or the handle of a runtime or slide that is closed. */
#define COVERSLIP_INVALID_HANDLE 3
/** The call is not allowed in this state, for example a frame after finish, or in a child made by fork(). */
#define COVERSLIP_WRONG_STATE 4
/** Host and library share no version of the contract; the message names both versions. */
#define COVERSLIP_ABI_MISMATCH 5
/** The contract knows it, but this library or this version does not have it. */
#define COVERSLIP_UNSUPPORTED 6
/** This library does not accept the pixel format, bit depth or number of planes. */
#define COVERSLIP_UNSUPPORTED_FORMAT 7
/** The memory needed is not available, or exceeds the limit that the host set; the message says how much. */
#define COVERSLIP_OUT_OF_MEMORY 8
/** More slides than max_slides, or more tiles than the slide's max_tiles. */
#define COVERSLIP_LIMIT_REACHED 9
/** There are no free slots for this frame now. The whole frame is refused and remembered; submit it again or go on. */
#define COVERSLIP_BUSY 10
/** The frame is larger than slide_begin announced. */
#define COVERSLIP_FRAME_TOO_LARGE 11
/** The whole frame lies outside the declared extent. */
#define COVERSLIP_OUT_OF_EXTENT 12
/** The timeout expired; the work goes on. */
#define COVERSLIP_TIMEOUT 13
/** slide_interrupt was called, or another thread has ended the slide or closed its runtime. */
#define COVERSLIP_INTERRUPTED 14
/** The progress callback asked to stop. */
#define COVERSLIP_CANCELLED 15
/** The slide is over and every result has been polled. */
#define COVERSLIP_END_OF_RESULTS 16
/** The caller's buffers cannot hold even one result; the message says what it needs. Nothing is lost. */
#define COVERSLIP_BUFFER_TOO_SMALL 17
/** A file could not be read or written; native_code is the operating system's. */
#define COVERSLIP_IO 18
/** The bundle (or a file of it) is missing, truncated or malformed. */
#define COVERSLIP_BUNDLE_INVALID 19
/** This library does not read bundles of this version or kind. */
#define COVERSLIP_BUNDLE_UNSUPPORTED 20
/** A file's digest is not the one that its manifest or the host expects. */
#define COVERSLIP_DIGEST_MISMATCH 21
/** The engine requested does not work here; the message gives the reason. */
#define COVERSLIP_ENGINE_UNAVAILABLE 22
/** The engine's outputs differ from the bundle's reference outputs. */
#define COVERSLIP_SELF_CHECK_FAILED 23
/** A lane did not stop within the timeout; its thread is left behind. */
#define COVERSLIP_ENGINE_HUNG 24
/** A defect in the library was caught. The slide is poisoned; the host is unaffected. */
#define COVERSLIP_INTERNAL 25
/** 1.1. A bundle or profile is unsigned although COVERSLIP_RUNTIME_REQUIRE_SIGNATURE is set, or its signature is wrong,
 *  or it is by none of the trusted keys. */
#define COVERSLIP_SIGNATURE_INVALID 26

/* ------------------------------------------------------------------------------ constants of fields -- */

/** coverslip_runtime_desc.engine */
#define COVERSLIP_ENGINE_AUTO 0     /**< TensorRT if it works, else the CPU with a reason. */
#define COVERSLIP_ENGINE_CPU 1      /**< The embedded CPU engine. */
#define COVERSLIP_ENGINE_TENSORRT 2 /**< TensorRT, or an error. */

/** coverslip_runtime_desc.flags */
#define COVERSLIP_RUNTIME_ALLOW_LIBRARY_SEARCH 0x1u /**< The loader may search for TensorRT. */
#define COVERSLIP_RUNTIME_PREBUILT_ONLY 0x2u        /**< Never build a plan on this machine. */
#define COVERSLIP_RUNTIME_NORMAL_PRIORITY 0x4u      /**< Workers run at the host's priority, not below it. */
#define COVERSLIP_RUNTIME_REQUIRE_SIGNATURE 0x8u    /**< 1.1. Bundle and profile must be signed by one of trusted_keys,
                                                         which must not be NULL. The plan cache must be private. */

/** coverslip_runtime_desc.fallback: what happens when a GPU engine fails */
#define COVERSLIP_FALLBACK_AT_OPEN 0 /**< At open: use the CPU. In mid-slide: the remaining tiles fail. */
#define COVERSLIP_FALLBACK_NONE 1    /**< At open: runtime_open fails. In mid-slide: as above. */
#define COVERSLIP_FALLBACK_ON_CPU 2  /**< Use the CPU, in mid-slide too; it is loaded at open for this. */

/** coverslip_runtime_desc.precision: that of the GPU engine. cpu_precision is that of the CPU's. */
#define COVERSLIP_PRECISION_DEFAULT 0  /**< float16. */
#define COVERSLIP_PRECISION_FLOAT32 1  /**< float32, without TF32. */
#define COVERSLIP_PRECISION_FLOAT16 2  /**< float16 where it is safe; norms, softmax, SAE and errors in float32. */
#define COVERSLIP_PRECISION_BFLOAT16 3 /**< bfloat16, with the same exceptions. */
#define COVERSLIP_PRECISION_INT8 4     /**< 1.1. Only in outputs: what the CPU runs for COVERSLIP_CPU_PRECISION_INT8. */

/** coverslip_runtime_desc.cpu_precision: that of the CPU engine. 1.1 */
#define COVERSLIP_CPU_PRECISION_FLOAT32 0 /**< float32, as in 1.0. */
#define COVERSLIP_CPU_PRECISION_HALF 1    /**< float16 or bfloat16, by what the processor has. Norms, softmax, SAE and
                                               errors in float32. UNSUPPORTED where the processor has no kernels for
                                               it that are quicker than float32's, and for an imported graph. */
#define COVERSLIP_CPU_PRECISION_INT8 2    /**< The mix of int8, half and float32 that passed the bundle's gate, made by
                                               `coverslip bundle quantise`. UNSUPPORTED, with the reason, for a bundle
                                               without one or whose mix does not pass, for an imported graph, and where
                                               the processor has neither AVX512-VNNI nor AVX-VNNI nor, on Arm,
                                               FEAT_DotProd. */

/** coverslip_runtime_desc.isolation: where the engine runs. 1.1 */
#define COVERSLIP_ISOLATION_AUTO 0   /**< TensorRT in a worker process if the worker's program is there and the host's
                                          abi_minor is at least 1; else in this process. The CPU engine: in this
                                          process. */
#define COVERSLIP_ISOLATION_NEVER 1  /**< In this process. See "A lost GPU" for what this risks. */
#define COVERSLIP_ISOLATION_ALWAYS 2 /**< In a worker process, the CPU engine too, or an error. */

/** coverslip_runtime_info.fallback_reason, and strength of COVERSLIP_ALERT_ENGINE_FALLBACK */
#define COVERSLIP_REASON_NONE 0                /**< The engine requested runs. */
#define COVERSLIP_REASON_NOT_BUILT_IN 1        /**< This library was built without the engine. */
#define COVERSLIP_REASON_NO_DRIVER 2           /**< No working GPU driver, or none that sees a GPU. */
#define COVERSLIP_REASON_NO_LIBRARY 3          /**< No TensorRT library, or the loader may not search for one. */
#define COVERSLIP_REASON_UNSUPPORTED_VERSION 4 /**< A TensorRT version that is not supported. */
#define COVERSLIP_REASON_UNSUPPORTED_DEVICE 5  /**< A GPU that TensorRT does not support. */
#define COVERSLIP_REASON_PLAN_REFUSED 6        /**< No plan fits. */
#define COVERSLIP_REASON_SELF_CHECK_FAILED 7   /**< The outputs differ from the reference. */
#define COVERSLIP_REASON_DEVICE_LOST 8         /**< The GPU failed while running. */
#define COVERSLIP_REASON_OUT_OF_MEMORY 9       /**< The GPU's memory or gpu_memory_limit is too small. */
#define COVERSLIP_REASON_DEFECT 10             /**< A defect was caught while the engine loaded. */
#define COVERSLIP_REASON_NO_WORKER 11          /**< 1.1. The worker's program is missing or does not start. */
#define COVERSLIP_REASON_WORKER_CRASHED 12     /**< 1.1. The worker process ended by itself. */
#define COVERSLIP_REASON_WORKER_HUNG 13        /**< 1.1. A batch took longer than worker_timeout_ms; it was killed. */
#define COVERSLIP_REASON_WORKER_PROTOCOL 14    /**< 1.1. The worker broke its protocol or answered nonsense. */

/** coverslip_progress.stage */
#define COVERSLIP_STAGE_VERIFY 0     /**< Reading and hashing the bundle. */
#define COVERSLIP_STAGE_COMPOSE 1    /**< Composing the graph. */
#define COVERSLIP_STAGE_ENGINE 2     /**< Building or loading the engine. */
#define COVERSLIP_STAGE_SELF_CHECK 3 /**< Running the reference tiles. */

/** coverslip_slide_desc.color_state */
#define COVERSLIP_COLOR_UNKNOWN 0 /**< Not stated. */
#define COVERSLIP_COLOR_RAW 1     /**< The sensor's values, white-balanced or not. */
#define COVERSLIP_COLOR_SRGB 2    /**< sRGB. */
#define COVERSLIP_COLOR_VENDOR 3  /**< A vendor's own colours; color_name names them. */

/** coverslip_slide_desc.stain. FOREIGN without a profile depends on it. 1.1 */
#define COVERSLIP_STAIN_UNKNOWN 0 /**< As in 1.0: FOREIGN needs a profile. */
#define COVERSLIP_STAIN_HE 1      /**< Haematoxylin and eosin: FOREIGN is raised above 0, with a profile or without. */
#define COVERSLIP_STAIN_H_DAB 2   /**< Haematoxylin and DAB: FOREIGN needs a profile, since DAB is outside H&E's colours. */
#define COVERSLIP_STAIN_OTHER 3   /**< Another one: FOREIGN needs a profile. */

/** coverslip_slide_desc.flags */
#define COVERSLIP_SLIDE_EMBEDDINGS 0x1u         /**< Results carry the embeddings of every tap. */
#define COVERSLIP_SLIDE_ANALYSE_BACKGROUND 0x2u /**< The model sees every tile, even without tissue. */
#define COVERSLIP_SLIDE_NOT_SCANNED_VALUE 0x4u  /**< 1.1. coverslip_slide_desc.not_scanned holds. */
#define COVERSLIP_SLIDE_ALPHA_IS_VALIDITY 0x8u  /**< 1.1. Pixels with alpha 0 were not scanned. */

/** coverslip_frame.pixel_format: codes of the Pixel Format Naming Convention (PFNC, EMVA/GenICam) */
#define COVERSLIP_PFNC_RGB8 0x02180014u
#define COVERSLIP_PFNC_BGR8 0x02180015u
#define COVERSLIP_PFNC_RGBA8 0x02200016u /**< Alpha is ignored, but for COVERSLIP_SLIDE_ALPHA_IS_VALIDITY. */
#define COVERSLIP_PFNC_BGRA8 0x02200017u /**< Likewise. */
/** 1.1. Unpacked channels of 10 to 16 bits are little-endian 16-bit words with the value in the low bits; what is above
 *  it is ignored. P: PFNC's packing, from the least significant bit on, without gaps within a row. _PACKED: GigE Vision's
 *  older packing, two pixels in three bytes. Each row begins at a byte: one that ends within a byte takes it whole, and
 *  what is left of it is ignored. Deeper channels become 8 bits by the slide's tone (coverslip_slide_desc).
 *  A Mono frame is grey, or one channel (coverslip_frame.channel). A Bayer code names the colours of the frame's own
 *  first two pixels, wherever the stage was; its width and height are even. See MOSAICS. */
#define COVERSLIP_PFNC_MONO8 0x01080001u
#define COVERSLIP_PFNC_MONO10 0x01100003u
#define COVERSLIP_PFNC_MONO12 0x01100005u
#define COVERSLIP_PFNC_MONO14 0x01100025u
#define COVERSLIP_PFNC_MONO16 0x01100007u
#define COVERSLIP_PFNC_MONO10P 0x010A0046u
#define COVERSLIP_PFNC_MONO12P 0x010C0047u
#define COVERSLIP_PFNC_MONO14P 0x010E0104u
#define COVERSLIP_PFNC_MONO10_PACKED 0x010C0004u
#define COVERSLIP_PFNC_MONO12_PACKED 0x010C0006u
#define COVERSLIP_PFNC_BAYER_GR8 0x01080008u
#define COVERSLIP_PFNC_BAYER_RG8 0x01080009u
#define COVERSLIP_PFNC_BAYER_GB8 0x0108000Au
#define COVERSLIP_PFNC_BAYER_BG8 0x0108000Bu
#define COVERSLIP_PFNC_BAYER_GR10 0x0110000Cu
#define COVERSLIP_PFNC_BAYER_RG10 0x0110000Du
#define COVERSLIP_PFNC_BAYER_GB10 0x0110000Eu
#define COVERSLIP_PFNC_BAYER_BG10 0x0110000Fu
#define COVERSLIP_PFNC_BAYER_GR12 0x01100010u
#define COVERSLIP_PFNC_BAYER_RG12 0x01100011u
#define COVERSLIP_PFNC_BAYER_GB12 0x01100012u
#define COVERSLIP_PFNC_BAYER_BG12 0x01100013u
#define COVERSLIP_PFNC_BAYER_GR16 0x0110002Eu
#define COVERSLIP_PFNC_BAYER_RG16 0x0110002Fu
#define COVERSLIP_PFNC_BAYER_GB16 0x01100030u
#define COVERSLIP_PFNC_BAYER_BG16 0x01100031u
#define COVERSLIP_PFNC_BAYER_BG10P 0x010A0052u
#define COVERSLIP_PFNC_BAYER_GB10P 0x010A0054u
#define COVERSLIP_PFNC_BAYER_GR10P 0x010A0056u
#define COVERSLIP_PFNC_BAYER_RG10P 0x010A0058u
#define COVERSLIP_PFNC_BAYER_BG12P 0x010C0053u
#define COVERSLIP_PFNC_BAYER_GB12P 0x010C0055u
#define COVERSLIP_PFNC_BAYER_GR12P 0x010C0057u
#define COVERSLIP_PFNC_BAYER_RG12P 0x010C0059u
#define COVERSLIP_PFNC_BAYER_GR10_PACKED 0x010C0026u
#define COVERSLIP_PFNC_BAYER_RG10_PACKED 0x010C0027u
#define COVERSLIP_PFNC_BAYER_GB10_PACKED 0x010C0028u
#define COVERSLIP_PFNC_BAYER_BG10_PACKED 0x010C0029u
#define COVERSLIP_PFNC_BAYER_GR12_PACKED 0x010C002Au
#define COVERSLIP_PFNC_BAYER_RG12_PACKED 0x010C002Bu
#define COVERSLIP_PFNC_BAYER_GB12_PACKED 0x010C002Cu
#define COVERSLIP_PFNC_BAYER_BG12_PACKED 0x010C002Du
#define COVERSLIP_PFNC_RGB10 0x02300018u
#define COVERSLIP_PFNC_BGR10 0x02300019u
#define COVERSLIP_PFNC_RGB12 0x0230001Au
#define COVERSLIP_PFNC_BGR12 0x0230001Bu
#define COVERSLIP_PFNC_RGB16 0x02300033u
#define COVERSLIP_PFNC_BGR16 0x0230004Bu
#define COVERSLIP_PFNC_RGBA16 0x02400064u
#define COVERSLIP_PFNC_BGRA16 0x02400051u
#define COVERSLIP_PFNC_RGB10P 0x021E005Cu
#define COVERSLIP_PFNC_BGR10P 0x021E0048u
#define COVERSLIP_PFNC_RGB12P 0x0224005Du
#define COVERSLIP_PFNC_BGR12P 0x02240049u
#define COVERSLIP_PFNC_RGB8_PLANAR 0x02180021u /**< Three planes: red, green, blue. */

/** coverslip_frame.channel: what a Mono frame carries. 1.1 */
#define COVERSLIP_CHANNEL_ALL 0   /**< Every channel; Mono is grey. As in 1.0. */
#define COVERSLIP_CHANNEL_RED 1   /**< Red alone. */
#define COVERSLIP_CHANNEL_GREEN 2 /**< Green alone. */
#define COVERSLIP_CHANNEL_BLUE 3  /**< Blue alone. */

/** coverslip_frame.mask_format: which pixels were captured. 1.1 */
#define COVERSLIP_MASK_NONE 0  /**< No mask: every pixel was captured. As in 1.0. */
#define COVERSLIP_MASK_BYTES 1 /**< A byte per pixel; 0: not scanned. */
#define COVERSLIP_MASK_BITS 2  /**< A bit per pixel, the first in the least significant bit; each row begins at a byte;
                                    0: not scanned. */

/** coverslip_frame.flags. 1.1 */
#define COVERSLIP_FRAME_CONTIGUOUS 0x1u /**< Its rows follow those of the last frame of this group_id without a gap: the
                                             two share a halo for demosaicing. See MOSAICS. */

/** coverslip_result.status: how a tile ended */
#define COVERSLIP_TILE_DONE 1       /**< Analysed: features and flags are valid. */
#define COVERSLIP_TILE_BACKGROUND 2 /**< Too little tissue: pixel flags are valid; there are no features. */
#define COVERSLIP_TILE_INCOMPLETE 3 /**< Too few of its pixels arrived (see min_coverage). */
#define COVERSLIP_TILE_REFUSED 4    /**< A refused frame would have touched it, and its pixels never came. */
#define COVERSLIP_TILE_EXPIRED 5    /**< No result within result_deadline_ms. */
#define COVERSLIP_TILE_CANCELLED 6  /**< The slide was cancelled first. */
#define COVERSLIP_TILE_FAILED 7     /**< The engine failed on it, or the slide was poisoned. */

/** Bits of flags_checked, flags_raised and flags_calibrated; scores[] and p_values[] are indexed by the bit's number.
 *  Higher scores are more unusual, except for scores 0 and 1. The flags from 4 on, except 10, and 6 where the host
 *  says that the stain is H&E, are checked only with a profile, and only if it calibrates them. */
#define COVERSLIP_FLAG_BACKGROUND 0x001u          /**< score 0: tissue fraction, 0..1 */
#define COVERSLIP_FLAG_OUT_OF_FOCUS 0x002u        /**< score 1: sharpness in decibels, lower is blurrier. With a profile
                                                       the flag needs a small p-value and little sharpness as such:
                                                       a softer scanner than the profile's is not out of focus */
#define COVERSLIP_FLAG_UNDEREXPOSED 0x004u        /**< score 2: share of black pixels, 0..1; a dim white raises the
                                                       flag too: the tile's own glass, else the slide's */
#define COVERSLIP_FLAG_OVEREXPOSED 0x008u         /**< score 3: share of pixels with a channel clipped, 0..1 */
#define COVERSLIP_FLAG_COLOR_SHIFT 0x010u         /**< score 4: squared distance of white point and stain from the
                                                       scanner's */
#define COVERSLIP_FLAG_BANDING 0x020u             /**< score 5: the strongest line in the row and column spectra, dB */
#define COVERSLIP_FLAG_FOREIGN 0x040u             /**< score 6: how far the oddest colours lie outside tissue's, in
                                                       optical density */
#define COVERSLIP_FLAG_NOVEL 0x080u               /**< score 7: embedding far from the scanner's tissue: its distance
                                                       above the median of the calibration tiles', in their standard
                                                       deviations; with a profile of the format
                                                       coverslip.profile/1 the distance itself */
#define COVERSLIP_FLAG_SCANNER_SHIFT 0x100u       /**< score 8: embedding displaced in the directions of scanners,
                                                       standard deviations */
#define COVERSLIP_FLAG_SCANNER_FEATURES 0x200u    /**< score 9: share of activation on other scanners' features, 0..1 */
#define COVERSLIP_FLAG_FEATURES_UNRELIABLE 0x400u /**< score 10: SAE reconstruction error (FVU scale), >= 0 */
#define COVERSLIP_FLAG_UNSTABLE 0x800u            /**< score 11: change of the features when the colours change, 0..1 */
#define COVERSLIP_FLAG_FOLD 0x1000u               /**< score 12: share of the tile that is folded tissue, 0..1. 1.1, not
                                                       built yet: never checked */
/** The length of coverslip_result.scores and p_values. */
#define COVERSLIP_SCORE_COUNT 16
/** The number of flags that this library can check: all but FOLD. */
#define COVERSLIP_FLAG_COUNT 12

/** Indices into coverslip_result.measurements: what was measured on the tile's pixels. NaN: not measured. */
#define COVERSLIP_MEASURE_TISSUE 0          /**< Share of the tile that is tissue, 0..1. */
#define COVERSLIP_MEASURE_SHARPNESS 1       /**< Decibels, along the direction that has least detail; lower is blurrier.
                                                 1.1 measures it anew: values of 1.0 are not comparable. */
#define COVERSLIP_MEASURE_BLACK 2           /**< Share of pixels with every channel black, 0..1. */
#define COVERSLIP_MEASURE_CLIPPED 3         /**< Share of pixels with any channel clipped, 0..1. */
#define COVERSLIP_MEASURE_WHITE_POINT 4     /**< 4..6: red, green, blue, 0..255: 99th percentile of 8 x 8 means. */
#define COVERSLIP_MEASURE_DENSITY_MEAN 7    /**< 7..9: mean optical density of tissue, -log10(level / 255). */
#define COVERSLIP_MEASURE_DENSITY_SPREAD 10 /**< 10..12: its standard deviation between 8 x 8 means. */
#define COVERSLIP_MEASURE_BANDING_ROWS 13   /**< The strongest line in the spectrum of the row means, dB. */
#define COVERSLIP_MEASURE_BANDING_COLUMNS 14 /**< The same for the column means. */
#define COVERSLIP_MEASURE_BANDING_PERIOD 15 /**< The period of the stronger of the two, pixels. */
#define COVERSLIP_MEASURE_FOREIGN 16        /**< Optical density; below 0, nothing is outside tissue's colours. */
#define COVERSLIP_MEASURE_FOREIGN_SHARE 17  /**< Share of the tile outside tissue's colours, 0..1. */
#define COVERSLIP_MEASURE_SHARPNESS_ACROSS 18 /**< 1.1. 18..21: sharpness along 0, 45, 90 and 135 degrees, from along a
                                                   row towards down a column, dB. A stage that moves takes the
                                                   detail along its way. */
#define COVERSLIP_MEASURE_FOCUS_LEARNED 22  /**< 1.1. A learned score of focus, higher is sharper. Not built yet. */
#define COVERSLIP_MEASURE_FOLD 23           /**< 1.1. Share of the tile that is folded tissue, 0..1. Not built yet. */
#define COVERSLIP_MEASURE_GLASS 24          /**< 1.1. 24..26: red, green, blue of the slide's glass, 0..255, as stated or
                                                   as tiles up to this one showed it. */
/** The length of coverslip_result.measurements. */
#define COVERSLIP_MEASUREMENT_COUNT 32

/** coverslip_slide_desc.stability_interval: run no tile twice. */
#define COVERSLIP_STABILITY_NEVER 0xFFFFFFFFu

/** coverslip_slide_summary.scanner_verdict: the verdict of SCANNER_MISMATCH, at the end of the slide */
#define COVERSLIP_SCANNER_UNKNOWN 0    /**< The slide is not over, there are fewer than 30 tiles or 19 calibration
                                           slides, or there is no profile. */
#define COVERSLIP_SCANNER_MATCHES 1    /**< The slide looks like one of the scanner's slides, along the directions in which
                                           the profile's scanners differ: it knows those scanners only. Another one may
                                           match: see novelty_verdict. */
#define COVERSLIP_SCANNER_MISMATCHES 2 /**< It does not; the alert was raised. */

/** coverslip_slide_summary.novelty_verdict: NOVEL for the slide as a whole. 1.1 */
#define COVERSLIP_NOVELTY_UNKNOWN 0 /**< As COVERSLIP_SCANNER_UNKNOWN, or a profile of the format coverslip.profile/1. */
#define COVERSLIP_NOVELTY_KNOWN 1   /**< The slide looks like slides of at least one scanner of the profile. */
#define COVERSLIP_NOVELTY_NONE 2    /**< It looks like those of none of them. */

/** coverslip_alert.code */
#define COVERSLIP_ALERT_FOCUS_LOSS 1       /**< A run of tissue tiles in a strip is out of focus; strength: tiles. */
#define COVERSLIP_ALERT_COLOR_DRIFT 2      /**< Colours have moved away from this slide's earlier ones; strength: an
                                                e-value. */
#define COVERSLIP_ALERT_EMBEDDING_DRIFT 3  /**< The same for the embedding, in the directions of scanners. */
#define COVERSLIP_ALERT_SCANNER_MISMATCH 4 /**< The whole slide, at its end; strength: its mean score 8. */
#define COVERSLIP_ALERT_BANDING 5          /**< One strip (group_id) is banded; strength: share of its tiles. */
#define COVERSLIP_ALERT_LAGGING 6          /**< Results fall behind the capture of frames; strength: nanoseconds. */
#define COVERSLIP_ALERT_OVERRUN 7          /**< Frames were refused; strength: frames. */
#define COVERSLIP_ALERT_ENGINE_FALLBACK 8  /**< Another engine runs than the one requested, or none any more. */
#define COVERSLIP_ALERT_UNKNOWN_SCANNER 9  /**< The profile does not know scanner_id; no check is calibrated. */
#define COVERSLIP_ALERT_WORKER_RESTARTED 10 /**< 1.1. The worker was started again, for the alert's reason; strength:
                                                ends within a minute that count; threshold: how many are the last. */
#define COVERSLIP_ALERT_PROFILE_PRECISION 11 /**< 1.1. The profile was calibrated at another precision; strength:
                                                COVERSLIP_PRECISION_* of the profile; threshold: that of the engine. */
#define COVERSLIP_ALERT_SCANNER_DRIFT 12   /**< 1.1. What SCANNER_MISMATCH says at the end, said while the slide is on
                                                the stage: the scanner's slides since the runtime was opened, this one as
                                                far as it goes, are unlike its calibration slides; strength: an e-value. */

/** coverslip_slide_summary.state */
#define COVERSLIP_SLIDE_OPEN 1     /**< Accepts frames. */
#define COVERSLIP_SLIDE_DRAINING 2 /**< Accepts no more frames; results still come. */
#define COVERSLIP_SLIDE_FINISHED 3 /**< Every tile has its result. */

/** Levels of the log callback. */
#define COVERSLIP_LOG_ERROR 1
#define COVERSLIP_LOG_WARN 2
#define COVERSLIP_LOG_INFO 3
#define COVERSLIP_LOG_DEBUG 4

/** As a timeout_ms: wait without limit. */
#define COVERSLIP_NO_TIMEOUT 0xFFFFFFFFu

/* ----------------------------------------------------------------------------------- basic structs -- */

/** A runtime: bundle, engine and threads. 0 is never valid. */
typedef uint64_t coverslip_runtime;
/** A slide of a runtime. 0 is never valid. */
typedef uint64_t coverslip_slide;

/** What went wrong. The caller owns it; it is written only if a function returns a code other than OK. */
typedef struct coverslip_error {
    uint32_t struct_size;
    int32_t code;        /**< What the function returned. */
    int64_t native_code; /**< The operating system's, CUDA's or TensorRT's code; 0 if there is none. */
    char message[512];   /**< What was expected, what was found, what to do. */
} coverslip_error;

/** Receives one log line. The library calls it from its threads and from [control] functions, never from [submit]
 *  functions. Several calls may run at once. `message` is valid during the call. The callback must not call the
 *  library. */
typedef void(COVERSLIP_CALL *coverslip_log_fn)(void *user, int32_t level, const char *message);

/** Who the host is and which contract it speaks. */
typedef struct coverslip_host_info {
    uint32_t struct_size;
    uint32_t abi_major;      /**< COVERSLIP_ABI_MAJOR of the header the host was compiled with. */
    uint32_t abi_minor_min;  /**< The lowest minor version that the host can work with. */
    uint32_t abi_minor;      /**< COVERSLIP_ABI_MINOR of that header. */
    const char *name;        /**< Product and version, for logs. May be NULL. */
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
    const char *plan_cache_path;   /**< A folder: GPU plans are kept in it. A file: the plan. NULL: none is kept. */
    const char *tensorrt_library;  /**< Absolute path; NULL: see ALLOW_LIBRARY_SEARCH. */
    const char *gpu_uuid;          /**< NULL: the first GPU. */
    const uint8_t *bundle_digest;  /**< 32 bytes: the sha256 of manifest.json that the host expects; NULL: any. */
    const uint8_t *profile_digest; /**< 32 bytes; NULL: any. */
    const uint8_t *plan_digest;    /**< 32 bytes: the sha256 of the plan's file; no plan is built. NULL: any. */
    const uint32_t *cpus;          /**< The logical CPUs that the workers may use; NULL: those of the
                                        thread that calls runtime_open. */
    uint32_t cpu_count;            /**< Length of cpus. */
    uint32_t flags;                /**< COVERSLIP_RUNTIME_*. */
    uint32_t max_threads;          /**< Lanes on the CPU, or threads that prepare tiles for a GPU; 0: one per
                                        allowed CPU. At most 256. */
    uint32_t max_slides;           /**< Slides that may be open at once; 0: 4. At most 64. */
    int32_t fallback;              /**< COVERSLIP_FALLBACK_*. */
    int32_t precision;             /**< COVERSLIP_PRECISION_*, on the GPU. */
    uint64_t memory_limit;         /**< Bytes of host memory for the slots and records of all slides; 0: 4 GiB. */
    uint64_t gpu_memory_limit;     /**< Bytes that plan, contexts and buffers may take together; 0: no limit. */
    uint32_t max_batch;            /**< Tiles per batch on the GPU; 0: the plan's, 32 when built. At most 256. */
    uint32_t reserved;             /**< 0. */
    /* 1.1. */
    const char *worker_path;       /**< The program that runs the engine in a process of its own; NULL: coverslip-worker
                                        beside the library. An absolute path. */
    int32_t isolation;             /**< COVERSLIP_ISOLATION_*. */
    uint32_t worker_timeout_ms;    /**< Time for one batch before the worker is killed and started again; 0: 30,000;
                                        COVERSLIP_NO_TIMEOUT: never. While it opens an engine it may be silent for ten
                                        times as long, and for five minutes at least. */
    const char *const *trusted_keys; /**< Public keys of minisign, a base64 text each, whose signatures of bundle and
                                        profile are accepted. A signature that is there must then be right and by one of
                                        these keys; without REQUIRE_SIGNATURE there may be none. NULL: signatures are
                                        not checked. */
    uint32_t trusted_key_count;    /**< Length of trusted_keys: 1 to 64; 0 with NULL. */
    int32_t cpu_precision;         /**< COVERSLIP_CPU_PRECISION_*. */
    const char *cpu_tuning_path;   /**< The file of `coverslip engine tune`, which overrides the choice of CPU kernels
                                        (INVALID_ARGUMENT: it cannot be read; UNSUPPORTED: it was made on another kind
                                        of processor); NULL: chosen from a fixed table by the processor's features. */
} coverslip_runtime_desc;

/** The progress of runtime_open. */
typedef struct coverslip_progress {
    uint32_t struct_size;
    int32_t stage;    /**< COVERSLIP_STAGE_*. */
    double fraction;  /**< Share of this stage that is done, 0..1. */
} coverslip_progress;

/** runtime_open calls it on the caller's thread. Return 0 to go on, anything else to cancel. */
typedef int32_t(COVERSLIP_CALL *coverslip_progress_fn)(void *user, const coverslip_progress *progress);

/** What was opened. */
typedef struct coverslip_runtime_info {
    uint32_t struct_size;
    int32_t engine;                   /**< The engine that runs: COVERSLIP_ENGINE_CPU or _TENSORRT. */
    int32_t fallback_reason;          /**< COVERSLIP_REASON_*. */
    uint32_t lanes;                   /**< Threads that run the graph. */
    uint32_t max_batch;               /**< The most tiles per batch. */
    uint32_t side;                    /**< Width and height of the model's input, pixels. */
    double mpp;                       /**< Micrometres per pixel of the model's input. */
    uint32_t tap_count;               /**< Embeddings per tile. */
    uint32_t tap_widths[16];          /**< Their widths, in the order of the embeddings. */
    uint32_t embedding_width;         /**< The sum of tap_widths: floats per tile. */
    uint32_t feature_count;           /**< All SAE features. */
    uint32_t features_per_tile;       /**< The most features reported per tile, strongest first. */
    double self_check_error;          /**< The largest 1 - cosine over all taps and reference tiles. */
    uint8_t bundle_digest[32];        /**< sha256 of the bundle's manifest. */
    uint8_t profile_digest[32];       /**< Zeros without a profile. */
    uint8_t configuration_digest[32]; /**< sha256 of the desc as the library understood it. */
    char bundle_name[128];
    char plugin_version[32];
    char plugin_commit[48];    /**< The commit of the source, or "unknown". */
    char engine_version[64];   /**< The library that runs the graph, and its version. */
    char driver_version[64];   /**< Empty on the CPU. */
    char gpu_uuid[64];         /**< Empty on the CPU. */
    char fallback_message[256];
    uint8_t plan_digest[32];   /**< sha256 of the GPU plan's file; zeros on the CPU, and for a plan that is not kept. */
    int32_t precision;         /**< The precision that runs: COVERSLIP_PRECISION_FLOAT32, _FLOAT16, _BFLOAT16 or _INT8. */
    uint32_t reserved;         /**< 0. */
    /* 1.1 */
    uint64_t worker_process_id;   /**< 0: the engine runs in this process. Changes when the worker is started again. */
    uint64_t worker_restarts;     /**< Since the runtime was opened. */
    uint64_t engine_memory_bytes; /**< Memory that the CPU engine holds in its process, or in that of the worker, with the
                                       most that its runs add, also while it stands by: packed weights and buffers; of
                                       an ONNX graph at most so much, as it was reckoned. 0: not known, as on a GPU. */
    uint64_t bundle_key_id;       /**< The key whose signature was accepted, as minisign numbers it (it prints the number
                                       in hexadecimal); 0: none. */
    uint64_t profile_key_id;      /**< The same for the profile. */
    int32_t cpu_precision;        /**< COVERSLIP_CPU_PRECISION_* of the CPU engine, also while it stands by. */
    int32_t profile_precision;    /**< COVERSLIP_PRECISION_* at which the profile was calibrated; 0: not known. */
    char cpu_kernels[64];         /**< The kernel families that the CPU engine runs, separated by blanks; empty: on the
                                       GPU, and where a library (see engine_version) chooses its own. A family that
                                       computes a small product wrongly on this processor is passed over at open, and
                                       named in the log. */
} coverslip_runtime_info;

/** What one SAE feature means, if the lab has labelled it. */
typedef struct coverslip_feature_info {
    uint32_t struct_size;
    uint32_t index;
    double correlation;  /**< Pearson's r with the counts of the cell type; of a label by `coverslip bundle label --counts`
                              with the tile's colour held fixed; NaN: not measured. */
    uint64_t tiles;      /**< Tiles on which r was measured; 0: not measured. */
    char label[128];     /**< Empty: not labelled. In a pruned SAE without labels: the original number. */
    char cell_type[64];  /**< The cells whose counts it follows; empty: not measured. */
    char dataset[128];   /**< The data set of these tiles. */
    /* 1.1. */
    double partial_correlation; /**< The same r with the tile's colour held fixed, on groups that did not choose the
                                     label; NaN: not tested, or the colour was not measured. */
    double p_value;             /**< Of the label, on these groups, corrected for all features and labels that were
                                     tried; NaN: not tested. */
    uint64_t groups;            /**< Independent groups (slides, patients) on which the label was tested; 0: none. */
} coverslip_feature_info;

/** Totals of a runtime since it was opened. */
typedef struct coverslip_runtime_stats {
    uint32_t struct_size;
    uint32_t slides_open;
    uint64_t frames_accepted;
    uint64_t frames_refused;
    uint64_t results[8];       /**< By COVERSLIP_TILE_*; [0] is their sum. */
    uint64_t tiles_in_flight;  /**< Tiles opened and not yet ended. */
    uint64_t batches;
    uint64_t slots;            /**< Slots reserved by the open slides. */
    uint64_t slots_free;
    uint64_t memory_bytes;     /**< Bytes reserved by the open slides: a bound, not a sample. */
    uint64_t submit_ns;        /**< Time spent in [submit] functions. */
    uint64_t prep_ns;          /**< Time spent in image QC, gate and resampling. */
    uint64_t lane_ns;          /**< Time spent running the graph, summed over lanes. */
    uint64_t judge_ns;         /**< Time spent on scores, flags and alerts. */
    uint32_t budget_percent;
    uint32_t reserved;
    /* 1.1. */
    uint64_t worker_process_id; /**< 0: the engine runs in this process. */
    uint64_t worker_restarts;
    uint64_t batches_retried;  /**< Batches that were run again on another worker. */
    uint64_t wake_ups;         /**< Times that a thread of this runtime woke that had waited for work. It stays as it is
                                    while nothing comes and nothing is due. */
} coverslip_runtime_stats;

/* ----------------------------------------------------------------------------------- slide structs -- */

/** What is about to be scanned. */
typedef struct coverslip_slide_desc {
    uint32_t struct_size;
    int32_t color_state;           /**< COVERSLIP_COLOR_*. */
    const char *scanner_id;        /**< Required. Ties the slide to a profile and a log. */
    const char *slide_id;          /**< Required. */
    const char *color_name;        /**< For COVERSLIP_COLOR_VENDOR; otherwise NULL. */
    double mpp_x, mpp_y;           /**< Micrometres per pixel of the frames, 0.01 to 100. */
    int64_t extent_x, extent_y;    /**< Upper left corner of the area to be scanned, and the grid's origin. */
    uint64_t extent_width;         /**< Pixels. 0 with extent_height 0: unknown (the origin stays valid). */
    uint64_t extent_height;
    uint32_t max_frame_width;      /**< The largest frame. Required. */
    uint32_t max_frame_height;
    uint64_t spread_width;         /**< The box in which tiles may be partial at the same time, beyond the frame; */
    uint64_t spread_height;        /**< for strips, the slide's width and a strip's height. 0: the frame. */
    uint32_t max_tiles;            /**< Places of the grid that may be opened; 0: the extent's, or 262,144. */
    uint32_t max_unpolled;         /**< Unpolled results that are kept before the slide slows down; 0: 65,536. */
    uint32_t assembly_timeout_ms;  /**< Time from a tile's last pixel until it goes on as it is; 0: until finish. */
    uint32_t result_deadline_ms;   /**< Time from a tile's completion until it is EXPIRED; 0: never. */
    double min_coverage;           /**< Share of its pixels that a tile needs to be analysed; 0: 0.5. At most 1. */
    double alpha;                  /**< False-alarm level of calibrated flags; 0: 0.01. At most 0.5. */
    uint32_t flags;                /**< COVERSLIP_SLIDE_*. */
    uint32_t stability_interval;   /**< With a profile, one tile in this many is run twice for UNSTABLE; 0: 64. */
    /* 1.1. How the camera's levels become the 8-bit channels that tiles, model and flags see, pixel by
       pixel and for every pixel format. With all of it 0, 8-bit formats are used as they are, as in 1.0.
         v = clip((level - tone_black) / (tone_white - tone_black)), times white_balance, then color_matrix, clipped;
         channel = round(255 * v^(1 / tone_gamma)), or tone_table[round(v * (tone_table_size - 1))].
       clip: to 0..1. Mosaics are demosaiced before, as levels. Grey has one channel: no balance, no matrix. A frame of
       one channel cannot have a matrix: UNSUPPORTED. A frame whose format does not reach from black to white is refused
       with UNSUPPORTED_FORMAT. */
    double tone_black;             /**< Level of black; 0: 0. At least 0 and below tone_white. */
    double tone_white;             /**< Level of white; 0: the format's highest, 2^bits - 1. At most that. */
    double tone_gamma;             /**< 0.1 to 10; 0: 1, a straight line. 0 with tone_table. */
    const uint8_t *tone_table;     /**< The curve as 8-bit channels, read in slide_begin; NULL: tone_gamma. */
    uint32_t tone_table_size;      /**< Length of tone_table, 2 to 65,536. */
    int32_t stain;                 /**< COVERSLIP_STAIN_*. */
    double white_balance[3];       /**< Factors for red, green, blue, each above 0 and at most 16; all 0: 1. */
    double color_matrix[9];        /**< Row by row, from red, green, blue to red, green, blue; each -16 to 16; all 0:
                                        the identity. */
    double white_reference[3];     /**< Red, green, blue of clear glass as 8-bit channels, above 0 and at most 255, for
                                        exposure; all 0: taken from the glass that the slide shows. */
    uint32_t not_scanned[3];       /**< With NOT_SCANNED_VALUE: a pixel of exactly these levels (red, green, blue;
                                        grey: the first; a channel: its own; a mosaic: all four of its cell) was not
                                        scanned. Else 0. */
    uint32_t reserved;             /**< 0. */
} coverslip_slide_desc;

/** One memory plane of a frame. */
typedef struct coverslip_plane {
    const uint8_t *data;  /**< The first pixel of the first row. */
    uint64_t stride;      /**< Bytes from one row to the next; at least a row. */
    uint64_t size;        /**< Readable bytes from data on; at least (height - 1) * stride + a row. */
} coverslip_plane;

/** One piece of the slide, as captured. */
typedef struct coverslip_frame {
    uint32_t struct_size;
    uint32_t pixel_format;     /**< COVERSLIP_PFNC_*. */
    uint32_t bit_depth;        /**< Bits per channel; 0: the format's. Other values: UNSUPPORTED_FORMAT. */
    uint32_t plane_count;      /**< 1; of RGB8_PLANAR, 3. Other values: UNSUPPORTED_FORMAT. */
    int64_t x, y;              /**< Upper left pixel in the acquisition plane. */
    uint32_t width, height;
    coverslip_plane planes[4];
    uint64_t frame_id;         /**< The host's number; results name a tile's first and last frame. */
    int64_t capture_time_ns;   /**< By the host's clock; 0: unknown, and LAGGING is not checked. */
    uint64_t group_id;         /**< The strip or swath; 0: none. */
    uint32_t pass;             /**< 0, and 1 more each time a region is scanned again. At most 65,535. */
    int32_t focal_plane;       /**< 0. Others: UNSUPPORTED in version 1. */
    /* 1.1. */
    int32_t channel;           /**< COVERSLIP_CHANNEL_*. Others than ALL for Mono formats alone. Arrival is kept per
                                    channel: a tile is complete when every channel of its pixels has arrived. */
    uint32_t flags;            /**< COVERSLIP_FRAME_*. */
    coverslip_plane mask;      /**< As mask_format says, width x height. Pixels that were not scanned count as not
                                    arrived: in coverage, exposure, white point and tissue. All 0 with MASK_NONE. */
    int32_t mask_format;       /**< COVERSLIP_MASK_*. */
    uint32_t reserved;         /**< 0. */
} coverslip_frame;

/** One active SAE feature of a tile. */
typedef struct coverslip_feature {
    uint32_t index;  /**< 0 .. feature_count - 1. */
    float value;     /**< Activation. Never 0; below 0 only in SAEs whose features have a sign. */
} coverslip_feature;

/** How one tile ended, in one pass. */
typedef struct coverslip_result {
    uint64_t sequence;         /**< 0, 1, 2 … in the order in which the slide's tiles ended. */
    int32_t column, row;       /**< Place in the grid. */
    int64_t x, y;              /**< Upper left pixel in the acquisition plane. */
    uint32_t width, height;    /**< In pixels of the acquisition plane. */
    uint32_t pass;
    int32_t status;            /**< COVERSLIP_TILE_*. */
    uint32_t flags_checked;    /**< The flags that were evaluated. A flag that was not checked has not passed. */
    uint32_t flags_raised;
    uint32_t flags_calibrated; /**< Those checked against this scanner's profile: see p_values. */
    float coverage;            /**< Share of the tile's pixels that arrived, 0..1. */
    float scores[COVERSLIP_SCORE_COUNT]; /**< By flag bit; NaN: not measured. */
    float reconstruction_error;          /**< The SAE's ||x - x'||^2 over the bundle's mean; NaN if not DONE. */
    uint32_t active_count;     /**< All active SAE features, of which the strongest are given. */
    uint32_t feature_offset;   /**< Into coverslip_result_batch.features. */
    uint32_t feature_count;
    uint32_t embedding_offset; /**< Into coverslip_result_batch.embeddings, in floats. */
    uint32_t embedding_count;  /**< 0, or runtime_info's embedding_width. */
    uint64_t first_frame_id;   /**< The first and last frame that gave it pixels; of a tile without any, that opened it. */
    uint64_t last_frame_id;
    uint64_t group_id;         /**< That of the first frame. */
    uint64_t latency_ns;       /**< Time from its last pixel to this result. */
    uint64_t engine_epoch;     /**< Changes when another engine takes over. */
    float p_values[COVERSLIP_SCORE_COUNT]; /**< By flag bit, for calibrated flags; raised if <= flag_alpha. Otherwise
                                                NaN. */
    float measurements[COVERSLIP_MEASUREMENT_COUNT]; /**< By COVERSLIP_MEASURE_*. */
    /* 1.1. */
    uint32_t channels_missing; /**< Bit c: the channel COVERSLIP_CHANNEL_* = c never came, but another did. The tile is
                                    REFUSED. */
    float not_scanned;         /**< Share of the tile's pixels that the host said were not scanned, and that no other
                                    frame had, 0..1. */
} coverslip_result;

/** Buffers for slide_poll and slide_wait. */
typedef struct coverslip_result_batch {
    uint32_t struct_size;
    uint32_t record_size;         /**< sizeof(coverslip_result) of the host's header: see Records. */
    coverslip_result *records;
    coverslip_feature *features;  /**< May be NULL with capacity 0; features are then left out (count 0). */
    float *embeddings;            /**< May be NULL with capacity 0; embeddings are then left out. */
    uint32_t record_capacity;
    uint32_t feature_capacity;
    uint32_t embedding_capacity;  /**< In floats. */
    uint32_t record_count;        /**< Out. */
    uint32_t feature_count;       /**< Out. */
    uint32_t embedding_count;     /**< Out, in floats. */
} coverslip_result_batch;

/** Something is going wrong on this slide. The host chooses the words for the operator. */
typedef struct coverslip_alert {
    uint64_t sequence;       /**< 0, 1, 2 … within the slide. */
    int32_t code;            /**< COVERSLIP_ALERT_*. */
    uint32_t calibrated;     /**< 1: judged against this scanner's profile; 0: by a general rule. */
    int64_t x, y;            /**< The box in the acquisition plane. */
    uint64_t width, height;  /**< 0: the whole slide. */
    uint64_t since_sequence; /**< The first result that belongs to it. */
    uint64_t since_frame_id; /**< Its first frame. */
    double strength;         /**< The value measured, in the unit of threshold. */
    double threshold;        /**< The value it was compared with. */
    int64_t time_ns;         /**< Since slide_begin. */
    /* 1.1. */
    int32_t reason;          /**< WORKER_RESTARTED: COVERSLIP_REASON_*. Otherwise 0. */
    uint32_t reserved;       /**< 0. */
} coverslip_alert;

/** Buffer for slide_alerts. */
typedef struct coverslip_alert_batch {
    uint32_t struct_size;
    uint32_t record_size;  /**< sizeof(coverslip_alert) of the host's header: see Records. */
    coverslip_alert *records;
    uint32_t record_capacity;
    uint32_t record_count; /**< Out. */
} coverslip_alert_batch;

/** Counters and provenance of one slide. opened = results[0] + in_flight at every moment. */
typedef struct coverslip_slide_summary {
    uint32_t struct_size;
    int32_t state;                /**< COVERSLIP_SLIDE_*. */
    uint32_t cancelled;           /**< 1 after slide_cancel. */
    uint32_t poisoned;            /**< 1 after a caught defect. */
    uint64_t opened;              /**< Tiles, per pass, that a frame lies on, a refused one too. */
    uint64_t in_flight;
    uint64_t results[8];          /**< By COVERSLIP_TILE_*; [0] is their sum. */
    uint64_t unpolled;            /**< Results waiting for slide_poll. */
    uint64_t frames_accepted;
    uint64_t frames_refused;
    uint64_t pixels_used;
    uint64_t pixels_duplicate;    /**< Pixels that had arrived before, from an overlapping frame. */
    uint64_t pixels_late;         /**< Pixels of tiles that had already gone on. */
    uint64_t pixels_outside;      /**< Pixels outside the extent. */
    uint64_t retired_early;       /**< Partial tiles that went on because slots were needed. */
    uint64_t alerts;
    uint64_t flags_checked[16];   /**< Tiles by flag bit. */
    uint64_t flags_raised[16];
    uint64_t latency_p50_ns;      /**< Analysed tiles, from last pixel to result; accurate to 12 %. */
    uint64_t latency_p99_ns;
    uint64_t elapsed_ns;          /**< Since slide_begin. */
    uint64_t memory_bytes;        /**< Bytes reserved for this slide. */
    uint64_t slots;
    double alpha;
    int32_t engine;
    int32_t fallback_reason;
    uint8_t bundle_digest[32];
    uint8_t profile_digest[32];
    uint8_t configuration_digest[32]; /**< sha256 of the runtime's and slide's desc as understood. */
    char plugin_version[32];
    char plugin_commit[48];
    char engine_version[64];
    char driver_version[64];
    char gpu_uuid[64];
    double flag_alpha[16];    /**< By flag bit: alpha, or 1 / (n + 1) if n calibration tiles are too few; 0:
                                   uncalibrated. */
    double scanner_p_value;   /**< NaN while the verdict is UNKNOWN. */
    int32_t scanner_verdict;  /**< COVERSLIP_SCANNER_*. */
    uint32_t reserved;        /**< 0. */
    /* 1.1. */
    uint64_t pixels_not_scanned;  /**< Pixels of accepted frames that were not scanned: mask, alpha or value. */
    uint64_t channel_refused[4];  /**< REFUSED tiles by the COVERSLIP_CHANNEL_* that never came; [0]: their tiles. */
    uint64_t tiles_retried;       /**< Tiles that were run again on another worker. */
    uint64_t worker_restarts;     /**< During this slide. */
    uint64_t bundle_key_id;       /**< As in coverslip_runtime_info. */
    uint64_t profile_key_id;
    double white_point[3];        /**< Red, green, blue of the slide's glass, 0..255, as stated or as seen; 0: not
                                       known yet. */
    double novelty_p_value;       /**< NaN while the verdict is UNKNOWN. */
    int32_t novelty_verdict;      /**< COVERSLIP_NOVELTY_*. */
    int32_t precision;            /**< As in coverslip_runtime_info. */
    char cpu_kernels[64];         /**< As in coverslip_runtime_info. */
} coverslip_slide_summary;

/* --------------------------------------------------------------------------------------- functions -- */

/** The functions. The table grows only at its end: check struct_size (or abi_minor) before you use a function that
 *  is newer than 1.0. */
typedef struct coverslip_api {
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t reserved;

    /** [any] Returns the table of an extension, named "coverslip.<name>/<version>", or NULL if the library does not
     *  know it. Version 1.1 has none. */
    const void *(COVERSLIP_CALL *get_extension)(const char *name);

    /** [control] Loads and verifies the bundle, chooses and checks the engine, starts the threads. Takes seconds,
     *  or minutes if a GPU plan is built. Calls `progress` (may be NULL) on this thread. The bundle's codes
     *  apply to the profile too; a profile for another bundle is BUNDLE_INVALID.
     *  @return OK; IO, BUNDLE_INVALID, BUNDLE_UNSUPPORTED, DIGEST_MISMATCH; ENGINE_UNAVAILABLE,
     *          SELF_CHECK_FAILED; SIGNATURE_INVALID (1.1); UNSUPPORTED (a field of 1.1 that is not built yet);
     *          OUT_OF_MEMORY (of memory or of threads; the message says which); CANCELLED. */
    int32_t(COVERSLIP_CALL *runtime_open)(const coverslip_runtime_desc *desc, coverslip_progress_fn progress,
                                          void *progress_user, coverslip_runtime *out, coverslip_error *error);

    /** [any] Says what was opened. Constant, except for the engine after a fallback and its worker after a
     *  restart. @return OK. */
    int32_t(COVERSLIP_CALL *runtime_info)(coverslip_runtime runtime, coverslip_runtime_info *out,
                                          coverslip_error *error);

    /** [any] Says what feature `index` means. @return OK; INVALID_ARGUMENT if index >= feature_count. */
    int32_t(COVERSLIP_CALL *feature_info)(coverslip_runtime runtime, uint32_t index,
                                          coverslip_feature_info *out, coverslip_error *error);

    /** [any] Gives totals since the runtime was opened. @return OK. */
    int32_t(COVERSLIP_CALL *runtime_stats)(coverslip_runtime runtime, coverslip_runtime_stats *out,
                                           coverslip_error *error);

    /** [any] Limits the engine to `percent` (1..100) of the time of its cores or GPU, from the next batch
     *  on. @return OK. */
    int32_t(COVERSLIP_CALL *runtime_set_budget)(coverslip_runtime runtime, uint32_t percent,
                                                coverslip_error *error);

    /** [control] Cancels and ends every open slide, stops and joins every thread. The handle becomes invalid
     *  whatever is returned. Waits up to timeout_ms for running batches. rten, which runs imported ONNX
     *  graphs on the CPU (see engine_version), keeps one idle thread pool per process; the first runtime_open with
     *  such a graph makes it. A ViT's engine has no pool.
     *  @return OK; ENGINE_HUNG: a lane did not return, and its thread and its memory are left behind. */
    int32_t(COVERSLIP_CALL *runtime_close)(coverslip_runtime runtime, uint32_t timeout_ms,
                                           coverslip_error *error);

    /** [control] Reserves all memory of a slide. Waits for no slide that is open; for the memory of those that have
     *  ended, up to a second.
     *  @return OK; OUT_OF_MEMORY (what the slide needs exceeds its share of memory_limit, or is not
     *          available); LIMIT_REACHED (max_slides, or an extent of more than max_tiles tiles);
     *          UNSUPPORTED (a field of 1.1 that is not built yet); ENGINE_UNAVAILABLE (the engine was lost and
     *          there is no other; close the runtime, and see "A lost GPU"). */
    int32_t(COVERSLIP_CALL *slide_begin)(coverslip_runtime runtime, const coverslip_slide_desc *desc,
                                         coverslip_slide *out, coverslip_error *error);

    /** [submit] Copies a frame's pixels into its tiles. The host may reuse the frame's memory on return. A frame
     *  is accepted as a whole or not at all. A frame refused with BUSY is remembered: its tiles end as REFUSED
     *  unless their pixels come later. Pixels outside the extent are counted and left out.
     *  @return OK; BUSY; FRAME_TOO_LARGE; OUT_OF_EXTENT; UNSUPPORTED_FORMAT (also a frame that is not colour, grey or
     *          one channel as the slide's first); UNSUPPORTED (focal_plane; one channel with a color_matrix);
     *          LIMIT_REACHED (max_tiles); WRONG_STATE (after finish
     *          or cancel). */
    int32_t(COVERSLIP_CALL *slide_submit)(coverslip_slide slide, const coverslip_frame *frame,
                                          coverslip_error *error);

    /** [submit] Does the same for hosts that may wait: returns BUSY only after timeout_ms without room.
     *  @return as slide_submit; INTERRUPTED. */
    int32_t(COVERSLIP_CALL *slide_submit_wait)(coverslip_slide slide, const coverslip_frame *frame,
                                               uint32_t timeout_ms, coverslip_error *error);

    /** [control] Declares that there are no more frames. Partial tiles go on as they are, and the call waits
     *  until every tile has its result. It may be called again after a TIMEOUT. Results are polled as before; if
     *  there are more than max_unpolled, poll on another thread or between calls.
     *  @return OK; TIMEOUT: the slide goes on draining; INTERRUPTED. */
    int32_t(COVERSLIP_CALL *slide_finish)(coverslip_slide slide, uint32_t timeout_ms, coverslip_error *error);

    /** [any] Accepts no more frames and ends every tile without a result as CANCELLED. Does not wait; slide_finish
     *  still does, while there are more than max_unpolled results.
     *  @return OK, also if the slide was cancelled or finished before. */
    int32_t(COVERSLIP_CALL *slide_cancel)(coverslip_slide slide, coverslip_error *error);

    /** [any] Takes the available results, oldest first, as many as fit. Each result is given once; of several
     *  polling threads, each gets different results. The counts are written even if the code is
     *  END_OF_RESULTS (they are then 0). @return OK (record_count may be 0); END_OF_RESULTS; BUFFER_TOO_SMALL. */
    int32_t(COVERSLIP_CALL *slide_poll)(coverslip_slide slide, coverslip_result_batch *batch,
                                        coverslip_error *error);

    /** [any] Does the same, but waits until there is at least one result. Blocks for at most timeout_ms.
     *  @return as slide_poll; TIMEOUT; INTERRUPTED. */
    int32_t(COVERSLIP_CALL *slide_wait)(coverslip_slide slide, coverslip_result_batch *batch,
                                        uint32_t timeout_ms, coverslip_error *error);

    /** [any] Wakes every thread in slide_wait, slide_submit_wait or slide_finish of this slide; these calls
     *  return INTERRUPTED. A call that has at that moment taken results or its frame returns as if there were no
     *  interrupt. If none returns INTERRUPTED, the next such call does so at once, whichever thread's it is: where
     *  one thread is meant and others go on calling, interrupt again until that one has returned. @return OK. */
    int32_t(COVERSLIP_CALL *slide_interrupt)(coverslip_slide slide, coverslip_error *error);

    /** [any] Takes the available alerts, oldest first, as many as fit. Each alert is given once. A slide
     *  keeps up to 1,024 unread alerts; further ones are only counted in the summary. @return OK. */
    int32_t(COVERSLIP_CALL *slide_alerts)(coverslip_slide slide, coverslip_alert_batch *batch,
                                          coverslip_error *error);

    /** [any] Gives counters and provenance, at any time. @return OK. */
    int32_t(COVERSLIP_CALL *slide_summary)(coverslip_slide slide, coverslip_slide_summary *out,
                                           coverslip_error *error);

    /** [control] Ends the slide: cancels what is left, drops what was not polled, and frees its memory as
     *  soon as no lane uses it. Does not wait for the engine. @return OK. */
    int32_t(COVERSLIP_CALL *slide_end)(coverslip_slide slide, coverslip_error *error);

    /* 1.1 */

    /** [any] Writes the slide's report into `buffer` as NUL-terminated JSON, at any time: what slide_summary and
     *  runtime_info say, the counts of every flag and its level, and the alerts, taken or not. `capacity` is the
     *  size of `buffer` in bytes; with 0 `buffer` may be NULL. `needed`, if not NULL, receives the bytes that the
     *  report takes with its NUL, also with BUFFER_TOO_SMALL. The report can grow until the slide is FINISHED, and by
     *  a few digits of its times after. It has the first 1,024 alerts. Its fields: docs/reference/slide-report.md.
     *  @return OK; BUFFER_TOO_SMALL (nothing but `needed` is written). */
    int32_t(COVERSLIP_CALL *slide_report_json)(coverslip_slide slide, char *buffer, uint64_t capacity,
                                               uint64_t *needed, coverslip_error *error);
} coverslip_api;

/** [any] The one exported symbol. Gives the function table to a host whose version of the contract fits. It is
 *  fast: it touches no GPU, starts no thread and reads no file. It may be called again, also by several hosts in
 *  one process. Each runtime logs to the host that called last before the runtime was opened.
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
