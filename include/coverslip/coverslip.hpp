/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * coverslip.hpp — Coverslip for C++17: RAII over coverslip.h, header-only; it needs only the standard library.
 *
 * The C header is the contract and explains every struct, constant and rule. This header only manages
 * lifetimes, buffers and errors.
 *
 *     auto library = coverslip::Library::open("/opt/scanner/libcoverslip.so");   // or Library::linked()
 *     coverslip::RuntimeOptions options;
 *     options.bundle_path = "/opt/scanner/bundle";
 *     auto runtime = coverslip::Runtime::open(library, options);
 *     auto slide = runtime.begin_slide(slide_options);
 *     slide.submit(frame);                       // acquisition thread: a Code, never an exception
 *     auto batch = runtime.make_batch(256);      // any other thread
 *     while (slide.wait(batch, 100ms) != coverslip::Code::EndOfResults)
 *         for (auto result : batch) ...
 *
 * RULES BEYOND THOSE OF THE C HEADER
 *
 * Errors. A failure that a host does not expect is thrown as coverslip::Error. An outcome of normal work is
 *   returned as a Code; the text of each function names these codes. `submit` and `submit_wait` never throw.
 * Lifetimes. A Slide keeps its runtime open. A runtime keeps its library and its log function. Destroy them in
 *   any order. The last owner closes the runtime. Closing blocks, as runtime_close does, so let the control
 *   thread be the last owner. Destructors swallow errors: call end() and close() to see them.
 * Threads. The tags of the C header hold. Several threads may use a Slide at once while nobody moves, ends or
 *   destroys it. A ResultBatch belongs to one thread at a time.
 */
#ifndef COVERSLIP_HPP
#define COVERSLIP_HPP

#if !defined(__cpp_exceptions) && !defined(_CPPUNWIND)
#error "coverslip.hpp throws coverslip::Error: compile with exceptions (without -fno-exceptions), or use coverslip.h"
#endif

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(_WIN32)
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
#else
#include <dlfcn.h>
#include <mutex>
#endif

#include "coverslip.h"

namespace coverslip {

/* ------------------------------------------------------------------------------------------- codes -- */

/** What a function returned: a COVERSLIP_* code. A newer library may return values without a name here. */
enum class Code : std::int32_t {
    Ok = COVERSLIP_OK,
    InvalidArgument = COVERSLIP_INVALID_ARGUMENT,
    InvalidStruct = COVERSLIP_INVALID_STRUCT,
    InvalidHandle = COVERSLIP_INVALID_HANDLE,
    WrongState = COVERSLIP_WRONG_STATE,
    AbiMismatch = COVERSLIP_ABI_MISMATCH,
    Unsupported = COVERSLIP_UNSUPPORTED,
    UnsupportedFormat = COVERSLIP_UNSUPPORTED_FORMAT,
    OutOfMemory = COVERSLIP_OUT_OF_MEMORY,
    LimitReached = COVERSLIP_LIMIT_REACHED,
    Busy = COVERSLIP_BUSY,
    FrameTooLarge = COVERSLIP_FRAME_TOO_LARGE,
    OutOfExtent = COVERSLIP_OUT_OF_EXTENT,
    Timeout = COVERSLIP_TIMEOUT,
    Interrupted = COVERSLIP_INTERRUPTED,
    Cancelled = COVERSLIP_CANCELLED,
    EndOfResults = COVERSLIP_END_OF_RESULTS,
    BufferTooSmall = COVERSLIP_BUFFER_TOO_SMALL,
    Io = COVERSLIP_IO,
    BundleInvalid = COVERSLIP_BUNDLE_INVALID,
    BundleUnsupported = COVERSLIP_BUNDLE_UNSUPPORTED,
    DigestMismatch = COVERSLIP_DIGEST_MISMATCH,
    EngineUnavailable = COVERSLIP_ENGINE_UNAVAILABLE,
    SelfCheckFailed = COVERSLIP_SELF_CHECK_FAILED,
    EngineHung = COVERSLIP_ENGINE_HUNG,
    Internal = COVERSLIP_INTERNAL,
    SignatureInvalid = COVERSLIP_SIGNATURE_INVALID
};

/** The code's name in the C header, without the prefix; "UNKNOWN" for a code of a later version. */
constexpr std::string_view code_name(Code code) noexcept {
    switch (code) {
    case Code::Ok: return "OK";
    case Code::InvalidArgument: return "INVALID_ARGUMENT";
    case Code::InvalidStruct: return "INVALID_STRUCT";
    case Code::InvalidHandle: return "INVALID_HANDLE";
    case Code::WrongState: return "WRONG_STATE";
    case Code::AbiMismatch: return "ABI_MISMATCH";
    case Code::Unsupported: return "UNSUPPORTED";
    case Code::UnsupportedFormat: return "UNSUPPORTED_FORMAT";
    case Code::OutOfMemory: return "OUT_OF_MEMORY";
    case Code::LimitReached: return "LIMIT_REACHED";
    case Code::Busy: return "BUSY";
    case Code::FrameTooLarge: return "FRAME_TOO_LARGE";
    case Code::OutOfExtent: return "OUT_OF_EXTENT";
    case Code::Timeout: return "TIMEOUT";
    case Code::Interrupted: return "INTERRUPTED";
    case Code::Cancelled: return "CANCELLED";
    case Code::EndOfResults: return "END_OF_RESULTS";
    case Code::BufferTooSmall: return "BUFFER_TOO_SMALL";
    case Code::Io: return "IO";
    case Code::BundleInvalid: return "BUNDLE_INVALID";
    case Code::BundleUnsupported: return "BUNDLE_UNSUPPORTED";
    case Code::DigestMismatch: return "DIGEST_MISMATCH";
    case Code::EngineUnavailable: return "ENGINE_UNAVAILABLE";
    case Code::SelfCheckFailed: return "SELF_CHECK_FAILED";
    case Code::EngineHung: return "ENGINE_HUNG";
    case Code::Internal: return "INTERNAL";
    case Code::SignatureInvalid: return "SIGNATURE_INVALID";
    }
    return "UNKNOWN";
}

/** The name of a COVERSLIP_TILE_*. */
constexpr std::string_view tile_name(std::int32_t status) noexcept {
    switch (status) {
    case COVERSLIP_TILE_DONE: return "DONE";
    case COVERSLIP_TILE_BACKGROUND: return "BACKGROUND";
    case COVERSLIP_TILE_INCOMPLETE: return "INCOMPLETE";
    case COVERSLIP_TILE_REFUSED: return "REFUSED";
    case COVERSLIP_TILE_EXPIRED: return "EXPIRED";
    case COVERSLIP_TILE_CANCELLED: return "CANCELLED";
    case COVERSLIP_TILE_FAILED: return "FAILED";
    default: return "UNKNOWN";
    }
}

/** The name of a COVERSLIP_FLAG_* (one bit). */
constexpr std::string_view flag_name(std::uint32_t flag) noexcept {
    switch (flag) {
    case COVERSLIP_FLAG_BACKGROUND: return "BACKGROUND";
    case COVERSLIP_FLAG_OUT_OF_FOCUS: return "OUT_OF_FOCUS";
    case COVERSLIP_FLAG_UNDEREXPOSED: return "UNDEREXPOSED";
    case COVERSLIP_FLAG_OVEREXPOSED: return "OVEREXPOSED";
    case COVERSLIP_FLAG_COLOR_SHIFT: return "COLOR_SHIFT";
    case COVERSLIP_FLAG_BANDING: return "BANDING";
    case COVERSLIP_FLAG_FOREIGN: return "FOREIGN";
    case COVERSLIP_FLAG_NOVEL: return "NOVEL";
    case COVERSLIP_FLAG_SCANNER_SHIFT: return "SCANNER_SHIFT";
    case COVERSLIP_FLAG_SCANNER_FEATURES: return "SCANNER_FEATURES";
    case COVERSLIP_FLAG_FEATURES_UNRELIABLE: return "FEATURES_UNRELIABLE";
    case COVERSLIP_FLAG_UNSTABLE: return "UNSTABLE";
    case COVERSLIP_FLAG_FOLD: return "FOLD";
    default: return "UNKNOWN";
    }
}

/** The name of a COVERSLIP_ALERT_*. */
constexpr std::string_view alert_name(std::int32_t code) noexcept {
    switch (code) {
    case COVERSLIP_ALERT_FOCUS_LOSS: return "FOCUS_LOSS";
    case COVERSLIP_ALERT_COLOR_DRIFT: return "COLOR_DRIFT";
    case COVERSLIP_ALERT_EMBEDDING_DRIFT: return "EMBEDDING_DRIFT";
    case COVERSLIP_ALERT_SCANNER_MISMATCH: return "SCANNER_MISMATCH";
    case COVERSLIP_ALERT_BANDING: return "BANDING";
    case COVERSLIP_ALERT_LAGGING: return "LAGGING";
    case COVERSLIP_ALERT_OVERRUN: return "OVERRUN";
    case COVERSLIP_ALERT_ENGINE_FALLBACK: return "ENGINE_FALLBACK";
    case COVERSLIP_ALERT_UNKNOWN_SCANNER: return "UNKNOWN_SCANNER";
    case COVERSLIP_ALERT_WORKER_RESTARTED: return "WORKER_RESTARTED";
    case COVERSLIP_ALERT_PROFILE_PRECISION: return "PROFILE_PRECISION";
    case COVERSLIP_ALERT_SCANNER_DRIFT: return "SCANNER_DRIFT";
    default: return "UNKNOWN";
    }
}

/** Thrown for every code that a function does not return. what() gives the code's name and the message. */
class Error : public std::runtime_error {
public:
    Error(Code code, std::int64_t native_code, std::string message)
        : std::runtime_error(std::string(code_name(code)) + ": " + message),
          code_(code), native_code_(native_code), message_(std::make_shared<std::string>(std::move(message))) {}

    Code code() const noexcept { return code_; }
    /** The operating system's, CUDA's or TensorRT's code; 0 if there is none. */
    std::int64_t native_code() const noexcept { return native_code_; }
    /** The library's text: what was expected, what was found, what to do. */
    const std::string &message() const noexcept { return *message_; }

private:
    Code code_;
    std::int64_t native_code_;
    std::shared_ptr<const std::string> message_; // Shared: copying an exception must not throw.
};

/* ----------------------------------------------------------------------------------------- helpers -- */

/** A row of values that another object owns (std::span is C++20). */
template <class T> class Span {
public:
    constexpr Span() noexcept = default;
    constexpr Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t index) const noexcept { return data_[index]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/** The 32 bytes of a sha256. */
using Digest = std::array<std::uint8_t, 32>;

/** A zeroed C struct with its struct_size set, as COVERSLIP_INIT does it. */
template <class T> T make() noexcept {
    T value;
    std::memset(&value, 0, sizeof value);
    value.struct_size = static_cast<std::uint32_t>(sizeof value);
    return value;
}

/** The text of a fixed-size field of the C header. Points into the field. */
template <std::size_t N> std::string_view text(const char (&field)[N]) noexcept {
    const void *end = std::memchr(field, 0, N);
    return {field, end ? static_cast<std::size_t>(static_cast<const char *>(end) - field) : N};
}

/** A digest of the C header in hexadecimal. */
inline std::string hex(const std::uint8_t (&digest)[32]) {
    constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(64);
    for (std::uint8_t byte : digest) {
        out.push_back(digits[byte >> 4]);
        out.push_back(digits[byte & 15]);
    }
    return out;
}

/** A frame of interleaved pixels: `height` rows, `stride` bytes from one to the next. Does not copy the pixels:
 *  they must stay until submit returns. Set frame_id, group_id, pass and capture_time_ns if they are known. */
inline coverslip_frame make_frame(std::uint32_t pixel_format, const std::uint8_t *pixels, std::uint64_t stride,
                                  std::uint32_t width, std::uint32_t height, std::int64_t x,
                                  std::int64_t y) noexcept {
    coverslip_frame frame = make<coverslip_frame>();
    frame.pixel_format = pixel_format;
    frame.plane_count = 1;
    frame.x = x;
    frame.y = y;
    frame.width = width;
    frame.height = height;
    frame.planes[0].data = pixels;
    frame.planes[0].stride = stride;
    // PFNC codes carry the bits per pixel in bits 16 to 23. A packed row may end within a byte. The last row ends
    // with its pixels: the bytes up to a whole stride may not be readable.
    const std::uint64_t row = (std::uint64_t{width} * ((pixel_format >> 16) & 0xFFu) + 7) / 8;
    frame.planes[0].size = height == 0 ? 0 : (std::uint64_t{height} - 1) * stride + row;
    return frame;
}

/** Waits without limit. */
inline constexpr std::chrono::milliseconds no_timeout{COVERSLIP_NO_TIMEOUT};

/** Receives log lines: level (COVERSLIP_LOG_*) and text. The library calls it from its threads; several calls may
 *  run at once. It must not call the library. Exceptions that it throws are swallowed. */
using LogFunction = std::function<void(std::int32_t level, std::string_view message)>;

/** Receives the progress of Runtime::open: stage (COVERSLIP_STAGE_*) and fraction of the stage. Return false to
 *  cancel. An exception cancels too, and Runtime::open rethrows it. */
using ProgressFunction = std::function<bool(std::int32_t stage, double fraction)>;

/** Who the host is. */
struct HostOptions {
    std::string name; /**< Product and version, for logs. */
    LogFunction log;  /**< Empty: no log. */
};

namespace detail {

inline std::uint32_t to_ms(std::chrono::milliseconds time) noexcept {
    if (time.count() <= 0) return 0;
    if (time >= no_timeout) return COVERSLIP_NO_TIMEOUT;
    return static_cast<std::uint32_t>(time.count());
}

inline const char *or_null(const std::string &value) noexcept { return value.empty() ? nullptr : value.c_str(); }

template <class T, std::size_t N> void copy(const std::array<T, N> &from, T (&to)[N]) noexcept {
    std::memcpy(to, from.data(), sizeof to);
}

[[noreturn]] inline void raise(std::int32_t code, const coverslip_error &error) {
    throw Error(static_cast<Code>(code), error.native_code, std::string(text(error.message)));
}

/** Returns OK and the expected codes; throws for all others. */
template <class... Expected>
Code check(std::int32_t code, const coverslip_error &error, Expected... expected) {
    const Code result = static_cast<Code>(code);
    if (result == Code::Ok || ((result == expected) || ...)) return result;
    raise(code, error);
}

#if defined(_WIN32)
inline void *load(const std::string &path) {
    const auto fail = [&path](const char *what) -> void * {
        const DWORD native = GetLastError();
        throw Error(Code::Io, static_cast<std::int64_t>(native), std::string(what) + " " + path);
    };
    const int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.c_str(), -1, nullptr, 0);
    if (length <= 0) return fail("not a UTF-8 path:");
    std::wstring wide(static_cast<std::size_t>(length), L'\0');
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.c_str(), -1, wide.data(), length);
    const HMODULE module = LoadLibraryW(wide.c_str());
    if (module == nullptr) return fail("cannot load the library");
    return reinterpret_cast<void *>(module);
}
inline coverslip_get_api_fn find_entry(void *module) noexcept {
    const FARPROC address = GetProcAddress(reinterpret_cast<HMODULE>(module), "coverslip_get_api");
    // Through void*: compilers warn if one function pointer is cast to another directly.
    return reinterpret_cast<coverslip_get_api_fn>(reinterpret_cast<void *>(address));
}
inline void unload(void *module) noexcept { FreeLibrary(reinterpret_cast<HMODULE>(module)); }
#else
inline void *load(const std::string &path) {
    void *module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (module == nullptr) {
        const char *reason = dlerror();
        throw Error(Code::Io, 0, reason ? reason : "cannot load " + path);
    }
    return module;
}
inline coverslip_get_api_fn find_entry(void *module) noexcept {
    return reinterpret_cast<coverslip_get_api_fn>(dlsym(module, "coverslip_get_api"));
}
inline void unload(void *module) noexcept { dlclose(module); }
#endif

/** The library as this host sees it. Runtimes share it, because the log function must outlive them. */
struct Host {
    HostOptions options;
    void *module = nullptr; // Null if the library is linked.
    coverslip_get_api_fn get_api = nullptr;
    const coverslip_api *api = nullptr;

    explicit Host(HostOptions host_options) : options(std::move(host_options)) {}
    Host(const Host &) = delete;
    Host &operator=(const Host &) = delete;
    ~Host() {
        if (module != nullptr) unload(module);
    }

    static void COVERSLIP_CALL log_line(void *user, std::int32_t level, const char *message) noexcept {
        try {
            static_cast<const Host *>(user)->options.log(level, message);
        } catch (...) { // A log line must not crash the host, and no exception may cross the C boundary.
        }
    }

    /** Gets the function table, and makes this the host that the next runtime logs to. */
    void connect() {
        coverslip_host_info info = make<coverslip_host_info>();
        info.abi_major = COVERSLIP_ABI_MAJOR;
        info.abi_minor_min = 0; // Options of 1.1 that are not set are zeros, which a library of 1.0 accepts.
        info.abi_minor = COVERSLIP_ABI_MINOR;
        info.name = or_null(options.name);
        info.log = options.log ? &log_line : nullptr;
        info.log_user = this;
        coverslip_error error = make<coverslip_error>();
        check(get_api(&info, &api, &error), error);
    }
};

/** A runtime logs to the host that got the table last. If one process has two hosts of this wrapper, getting the
 *  table and opening must therefore not interleave: this is held for both. */
#if defined(_WIN32)
class ConnectLock { // Not every MinGW has std::mutex.
public:
    ConnectLock() noexcept { AcquireSRWLockExclusive(&lock()); }
    ~ConnectLock() { ReleaseSRWLockExclusive(&lock()); }
    ConnectLock(const ConnectLock &) = delete;
    ConnectLock &operator=(const ConnectLock &) = delete;

private:
    static SRWLOCK &lock() noexcept {
        static SRWLOCK value = SRWLOCK_INIT;
        return value;
    }
};
#else
class ConnectLock {
public:
    ConnectLock() : guard_(mutex()) {}

private:
    static std::mutex &mutex() {
        static std::mutex value;
        return value;
    }
    std::lock_guard<std::mutex> guard_;
};
#endif

/** Closes the runtime when its last owner, the Runtime or a Slide, is destroyed. */
struct RuntimeHandle {
    std::shared_ptr<Host> host;
    coverslip_runtime handle = 0;
    std::chrono::milliseconds close_timeout{};
    std::atomic<bool> open{false};

    RuntimeHandle(std::shared_ptr<Host> of, std::chrono::milliseconds timeout)
        : host(std::move(of)), close_timeout(timeout) {}
    RuntimeHandle(const RuntimeHandle &) = delete;
    RuntimeHandle &operator=(const RuntimeHandle &) = delete;
    ~RuntimeHandle() {
        coverslip_error error = make<coverslip_error>();
        close(close_timeout, error);
    }

    std::int32_t close(std::chrono::milliseconds timeout, coverslip_error &error) noexcept {
        if (!open.exchange(false)) return COVERSLIP_OK;
        const std::int32_t code = host->api->runtime_close(handle, to_ms(timeout), &error);
        if (code == COVERSLIP_ENGINE_HUNG) {
            // The lane that was left behind may still log, so its host must live on. If there is no memory
            // for that, losing the log function is the lesser harm.
            try {
                static_cast<void>(new std::shared_ptr<Host>(host));
            } catch (...) {
            }
        }
        return code;
    }
};

} // namespace detail

/* ----------------------------------------------------------------------------------------- library -- */

/** The loaded library. Copies share one library. */
class Library {
public:
    /** Loads the library at `path` (UTF-8). @throws Error: Io (missing or not loadable), AbiMismatch,
     *  Unsupported (a library without the entry point). */
    static Library open(const std::string &path, HostOptions options = {}) {
        auto host = std::make_shared<detail::Host>(std::move(options));
        host->module = detail::load(path);
        host->get_api = detail::find_entry(host->module);
        if (host->get_api == nullptr) {
            throw Error(Code::Unsupported, 0, path + " does not export coverslip_get_api: not a Coverslip library");
        }
        return Library(std::move(host));
    }

    /** The library that the host links. Only hosts that call this need to link it.
     *  @throws Error: AbiMismatch. */
    static Library linked(HostOptions options = {}) {
        auto host = std::make_shared<detail::Host>(std::move(options));
        host->get_api = &coverslip_get_api;
        return Library(std::move(host));
    }

    /** The C function table, for calls that this wrapper does not cover. */
    const coverslip_api &api() const noexcept { return *host_->api; }

    /** The table of an extension, or nullptr if the library does not know it. */
    const void *extension(const char *name) const noexcept { return host_->api->get_extension(name); }

private:
    friend class Runtime;
    explicit Library(std::shared_ptr<detail::Host> host) : host_(std::move(host)) {
        const detail::ConnectLock lock;
        host_->connect();
    }
    std::shared_ptr<detail::Host> host_;
};

/* ----------------------------------------------------------------------------------------- results -- */

/** One result with its features and embedding. It points into its ResultBatch and is valid until the next poll. */
class Result {
public:
    Result(const coverslip_result &record, Span<const coverslip_feature> features, Span<const float> embedding) noexcept
        : record_(&record), features_(features), embedding_(embedding) {}

    const coverslip_result &record() const noexcept { return *record_; }
    const coverslip_result *operator->() const noexcept { return record_; }
    /** The reported SAE features, strongest first. */
    Span<const coverslip_feature> features() const noexcept { return features_; }
    /** The embeddings of all taps, one after the other; empty if they were not requested. */
    Span<const float> embedding() const noexcept { return embedding_; }
    /** Whether a COVERSLIP_FLAG_* was evaluated. A flag that was not checked has not passed. */
    bool checked(std::uint32_t flag) const noexcept { return (record_->flags_checked & flag) != 0; }
    bool raised(std::uint32_t flag) const noexcept { return (record_->flags_raised & flag) != 0; }
    bool calibrated(std::uint32_t flag) const noexcept { return (record_->flags_calibrated & flag) != 0; }

private:
    const coverslip_result *record_;
    Span<const coverslip_feature> features_;
    Span<const float> embedding_;
};

/** Owns the buffers that Slide::poll and Slide::wait fill. Calls reuse them without allocating. */
class ResultBatch {
public:
    /** Makes room for `records` results, each with this many features and floats. Runtime::make_batch knows the
     *  numbers of its bundle. @throws std::length_error beyond 32 bits. */
    ResultBatch(std::uint32_t records, std::uint32_t features_per_tile, std::uint32_t embedding_width)
        : records_(records), features_(product(records, features_per_tile)),
          embeddings_(product(records, embedding_width)) {}
    ResultBatch(const ResultBatch &) = delete;
    ResultBatch &operator=(const ResultBatch &) = delete;
    ResultBatch(ResultBatch &&other) noexcept { swap(other); }
    ResultBatch &operator=(ResultBatch &&other) noexcept {
        ResultBatch taken(std::move(other));
        swap(taken);
        return *this;
    }
    ~ResultBatch() = default;

    /** The results of the last poll. */
    std::size_t size() const noexcept { return count_; }
    bool empty() const noexcept { return count_ == 0; }
    Result operator[](std::size_t index) const noexcept {
        const coverslip_result &record = records_[index];
        // If the count is 0 the offset may be anything: do not build a pointer from it.
        return Result(record, slice(features_, record.feature_offset, record.feature_count),
                      slice(embeddings_, record.embedding_offset, record.embedding_count));
    }

    /** Iterates over the results; gives each as a Result by value. */
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Result;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = Result;

        Iterator(const ResultBatch *batch, std::size_t index) noexcept : batch_(batch), index_(index) {}
        Result operator*() const noexcept { return (*batch_)[index_]; }
        Iterator &operator++() noexcept {
            ++index_;
            return *this;
        }
        Iterator operator++(int) noexcept {
            Iterator before = *this;
            ++index_;
            return before;
        }
        bool operator==(const Iterator &other) const noexcept { return index_ == other.index_; }
        bool operator!=(const Iterator &other) const noexcept { return index_ != other.index_; }

    private:
        const ResultBatch *batch_;
        std::size_t index_;
    };
    Iterator begin() const noexcept { return Iterator(this, 0); }
    Iterator end() const noexcept { return Iterator(this, count_); }

private:
    friend class Slide;

    static std::uint32_t product(std::uint32_t records, std::uint32_t each) {
        const std::uint64_t all = std::uint64_t{records} * each;
        if (all > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("coverslip::ResultBatch");
        return static_cast<std::uint32_t>(all);
    }
    template <class T>
    static Span<const T> slice(const std::vector<T> &all, std::uint32_t offset, std::uint32_t count) noexcept {
        return count == 0 ? Span<const T>() : Span<const T>(all.data() + offset, count);
    }
    void swap(ResultBatch &other) noexcept {
        records_.swap(other.records_);
        features_.swap(other.features_);
        embeddings_.swap(other.embeddings_);
        std::swap(count_, other.count_);
    }

    /** Lets `call` fill the buffers. The batch is empty afterwards unless the call returns OK. */
    template <class Call> std::int32_t fill(Call call) noexcept {
        coverslip_result_batch batch = make<coverslip_result_batch>();
        batch.record_size = static_cast<std::uint32_t>(sizeof(coverslip_result));
        batch.records = records_.data();
        batch.features = features_.empty() ? nullptr : features_.data();
        batch.embeddings = embeddings_.empty() ? nullptr : embeddings_.data();
        batch.record_capacity = static_cast<std::uint32_t>(records_.size());
        batch.feature_capacity = static_cast<std::uint32_t>(features_.size());
        batch.embedding_capacity = static_cast<std::uint32_t>(embeddings_.size());
        const std::int32_t code = call(&batch);
        count_ = code == COVERSLIP_OK ? batch.record_count : 0;
        return code;
    }

    std::vector<coverslip_result> records_;
    std::vector<coverslip_feature> features_;
    std::vector<float> embeddings_;
    std::size_t count_ = 0;
};

/* ------------------------------------------------------------------------------------------- slide -- */

/** coverslip_slide_desc with strings. Zero and empty mean the default of the C header. */
struct SlideOptions {
    std::string scanner_id; /**< Required. */
    std::string slide_id;   /**< Required. */
    std::int32_t color_state = COVERSLIP_COLOR_UNKNOWN;
    std::string color_name;
    double mpp_x = 0; /**< Required. */
    double mpp_y = 0; /**< Required. */
    std::int64_t extent_x = 0;
    std::int64_t extent_y = 0;
    std::uint64_t extent_width = 0;
    std::uint64_t extent_height = 0;
    std::uint32_t max_frame_width = 0;  /**< Required. */
    std::uint32_t max_frame_height = 0; /**< Required. */
    std::uint64_t spread_width = 0;
    std::uint64_t spread_height = 0;
    std::uint32_t max_tiles = 0;
    std::uint32_t max_unpolled = 0;
    std::chrono::milliseconds assembly_timeout{0};
    std::chrono::milliseconds result_deadline{0};
    double min_coverage = 0;
    double alpha = 0;
    /** One tile in this many is run twice for UNSTABLE. 0: 64. COVERSLIP_STABILITY_NEVER: none. */
    std::uint32_t stability_interval = 0;
    std::uint32_t flags = 0; /**< COVERSLIP_SLIDE_*. */
    // 1.1: see coverslip_slide_desc.
    double tone_black = 0;
    double tone_white = 0;
    double tone_gamma = 0;
    std::vector<std::uint8_t> tone_table;
    std::int32_t stain = COVERSLIP_STAIN_UNKNOWN;
    std::array<double, 3> white_balance{};
    std::array<double, 9> color_matrix{};
    std::array<double, 3> white_reference{};
    std::array<std::uint32_t, 3> not_scanned{};
};

/** One acquisition. Runtime::begin_slide makes it; end() or the destructor ends it. */
class Slide {
public:
    Slide(const Slide &) = delete;
    Slide &operator=(const Slide &) = delete;
    Slide(Slide &&other) noexcept
        : runtime_(std::move(other.runtime_)), handle_(std::exchange(other.handle_, 0)) {}
    Slide &operator=(Slide &&other) noexcept {
        if (this != &other) {
            end_quietly();
            runtime_ = std::move(other.runtime_);
            handle_ = std::exchange(other.handle_, 0);
        }
        return *this;
    }
    ~Slide() { end_quietly(); }

    /** False after it was ended or moved from. */
    explicit operator bool() const noexcept { return handle_ != 0; }

    /** [submit] Submits a frame. Never blocks, never throws. `error` (may be null) receives the message.
     *  @return every code of slide_submit. */
    [[nodiscard]] Code submit(const coverslip_frame &frame, coverslip_error *error = nullptr) noexcept {
        if (handle_ == 0) return Code::InvalidHandle;
        return static_cast<Code>(runtime_->host->api->slide_submit(handle_, &frame, error));
    }

    /** [submit] Does the same, but waits for room. Never throws. @return every code of slide_submit_wait. */
    [[nodiscard]] Code submit_wait(const coverslip_frame &frame, std::chrono::milliseconds timeout,
                                   coverslip_error *error = nullptr) noexcept {
        if (handle_ == 0) return Code::InvalidHandle;
        return static_cast<Code>(
            runtime_->host->api->slide_submit_wait(handle_, &frame, detail::to_ms(timeout), error));
    }

    /** [control] Ends the frames and waits for the results. @return Ok, Timeout (the slide goes on draining),
     *  Interrupted. */
    [[nodiscard]] Code finish(std::chrono::milliseconds timeout = no_timeout) {
        coverslip_error error = make<coverslip_error>();
        const std::int32_t code = api().slide_finish(handle_, detail::to_ms(timeout), &error);
        return detail::check(code, error, Code::Timeout, Code::Interrupted);
    }

    /** [any] Accepts no more frames; open tiles end as CANCELLED. */
    void cancel() {
        coverslip_error error = make<coverslip_error>();
        detail::check(api().slide_cancel(handle_, &error), error);
    }

    /** [any] Takes the available results. @return Ok (the batch may be empty), EndOfResults. */
    [[nodiscard]] Code poll(ResultBatch &batch) {
        coverslip_error error = make<coverslip_error>();
        const coverslip_api &table = api();
        const std::int32_t code = batch.fill([&](coverslip_result_batch *raw) {
            return table.slide_poll(handle_, raw, &error);
        });
        return detail::check(code, error, Code::EndOfResults);
    }

    /** [any] Waits for at least one result. @return Ok, EndOfResults, Timeout, Interrupted. */
    [[nodiscard]] Code wait(ResultBatch &batch, std::chrono::milliseconds timeout) {
        coverslip_error error = make<coverslip_error>();
        const coverslip_api &table = api();
        const std::int32_t code = batch.fill([&](coverslip_result_batch *raw) {
            return table.slide_wait(handle_, raw, detail::to_ms(timeout), &error);
        });
        return detail::check(code, error, Code::EndOfResults, Code::Timeout, Code::Interrupted);
    }

    /** [any] Wakes the threads that wait for this slide. */
    void interrupt() {
        coverslip_error error = make<coverslip_error>();
        detail::check(api().slide_interrupt(handle_, &error), error);
    }

    /** [any] Takes all available alerts, oldest first. */
    std::vector<coverslip_alert> alerts() {
        std::vector<coverslip_alert> all;
        std::array<coverslip_alert, 16> some{}; // A library of 1.0 leaves the fields of 1.1 as they are.
        const coverslip_api &table = api();
        for (;;) {
            coverslip_error error = make<coverslip_error>();
            coverslip_alert_batch batch = make<coverslip_alert_batch>();
            batch.record_size = static_cast<std::uint32_t>(sizeof(coverslip_alert));
            batch.records = some.data();
            batch.record_capacity = static_cast<std::uint32_t>(some.size());
            detail::check(table.slide_alerts(handle_, &batch, &error), error);
            all.insert(all.end(), some.data(), some.data() + batch.record_count);
            if (batch.record_count < some.size()) return all;
        }
    }

    /** [any] Gives counters and provenance. */
    coverslip_slide_summary summary() const {
        coverslip_error error = make<coverslip_error>();
        coverslip_slide_summary out = make<coverslip_slide_summary>();
        detail::check(api().slide_summary(handle_, &out, &error), error);
        return out;
    }

    /** [any] Gives the slide's report as JSON. @throws Error: Unsupported, also by a library of 1.0. */
    std::string report_json() const {
        const coverslip_api &table = api();
        if (table.struct_size < offsetof(coverslip_api, slide_report_json) + sizeof table.slide_report_json) {
            throw Error(Code::Unsupported, 0, "this library is of version 1.0, which has no slide_report_json");
        }
        std::string out;
        for (;;) {
            coverslip_error error = make<coverslip_error>();
            std::uint64_t needed = 0;
            const std::int32_t code =
                table.slide_report_json(handle_, out.empty() ? nullptr : out.data(), out.size(), &needed, &error);
            if (detail::check(code, error, Code::BufferTooSmall) == Code::Ok) {
                out.resize(std::strlen(out.c_str()));
                return out;
            }
            // It may have grown since; never smaller than before, so this ends.
            out.resize(needed > out.size() ? static_cast<std::size_t>(needed) : 2 * out.size() + 1);
        }
    }

    /** [control] Ends the slide and drops what was not polled. Does nothing if it was ended before. */
    void end() {
        if (handle_ == 0) return;
        coverslip_error error = make<coverslip_error>();
        const std::int32_t code = api().slide_end(std::exchange(handle_, 0), &error);
        runtime_.reset();
        detail::check(code, error);
    }

    /** The C handle, for calls that this wrapper does not cover. */
    coverslip_slide handle() const noexcept { return handle_; }

private:
    friend class Runtime;
    Slide(std::shared_ptr<detail::RuntimeHandle> runtime, coverslip_slide handle) noexcept
        : runtime_(std::move(runtime)), handle_(handle) {}

    const coverslip_api &api() const {
        if (handle_ == 0) throw Error(Code::InvalidHandle, 0, "this coverslip::Slide was ended or moved from");
        return *runtime_->host->api;
    }
    void end_quietly() noexcept {
        if (handle_ != 0) runtime_->host->api->slide_end(std::exchange(handle_, 0), nullptr);
        runtime_.reset();
    }

    std::shared_ptr<detail::RuntimeHandle> runtime_;
    coverslip_slide handle_ = 0;
};

/* ----------------------------------------------------------------------------------------- runtime -- */

/** coverslip_runtime_desc with strings. Zero and empty mean the default of the C header. */
struct RuntimeOptions {
    std::string bundle_path; /**< Required. */
    std::string profile_path;
    std::string plan_cache_path;
    std::string tensorrt_library;
    std::string gpu_uuid;
    std::optional<Digest> bundle_digest;
    std::optional<Digest> profile_digest;
    std::optional<Digest> plan_digest;
    std::vector<std::uint32_t> cpus;
    std::int32_t engine = COVERSLIP_ENGINE_AUTO;
    std::int32_t fallback = COVERSLIP_FALLBACK_AT_OPEN;
    std::uint32_t flags = 0; /**< COVERSLIP_RUNTIME_*. */
    std::uint32_t max_threads = 0;
    std::uint32_t max_slides = 0;
    std::uint64_t memory_limit = 0;
    std::uint64_t gpu_memory_limit = 0;
    std::int32_t precision = COVERSLIP_PRECISION_DEFAULT;
    std::uint32_t max_batch = 0;
    /** How long the destructor waits for running batches. */
    std::chrono::milliseconds close_timeout{10000};
    // 1.1: see coverslip_runtime_desc.
    std::string worker_path;
    std::int32_t isolation = COVERSLIP_ISOLATION_AUTO;
    std::chrono::milliseconds worker_timeout{0};
    std::vector<std::string> trusted_keys;
    std::int32_t cpu_precision = COVERSLIP_CPU_PRECISION_FLOAT32;
    std::string cpu_tuning_path;
};

/** Bundle, engine and threads, opened once and shared by its slides. */
class Runtime {
public:
    /** [control] Loads and checks the bundle and starts the engine. Takes seconds. Calls `progress` on this
     *  thread. Runtimes open one after the other.
     *  @throws Error with the codes of runtime_open; what `progress` throws. */
    static Runtime open(const Library &library, const RuntimeOptions &options, ProgressFunction progress = {}) {
        coverslip_runtime_desc desc = make<coverslip_runtime_desc>();
        desc.engine = options.engine;
        desc.bundle_path = detail::or_null(options.bundle_path);
        desc.profile_path = detail::or_null(options.profile_path);
        desc.plan_cache_path = detail::or_null(options.plan_cache_path);
        desc.tensorrt_library = detail::or_null(options.tensorrt_library);
        desc.gpu_uuid = detail::or_null(options.gpu_uuid);
        desc.bundle_digest = options.bundle_digest ? options.bundle_digest->data() : nullptr;
        desc.profile_digest = options.profile_digest ? options.profile_digest->data() : nullptr;
        desc.plan_digest = options.plan_digest ? options.plan_digest->data() : nullptr;
        desc.cpus = options.cpus.empty() ? nullptr : options.cpus.data();
        desc.cpu_count = static_cast<std::uint32_t>(options.cpus.size());
        desc.flags = options.flags;
        desc.max_threads = options.max_threads;
        desc.max_slides = options.max_slides;
        desc.fallback = options.fallback;
        desc.memory_limit = options.memory_limit;
        desc.gpu_memory_limit = options.gpu_memory_limit;
        desc.precision = options.precision;
        desc.max_batch = options.max_batch;
        desc.worker_path = detail::or_null(options.worker_path);
        desc.isolation = options.isolation;
        desc.worker_timeout_ms = detail::to_ms(options.worker_timeout);
        std::vector<const char *> keys;
        for (const std::string &key : options.trusted_keys) keys.push_back(key.c_str());
        desc.trusted_keys = keys.empty() ? nullptr : keys.data();
        desc.trusted_key_count = static_cast<std::uint32_t>(keys.size());
        desc.cpu_precision = options.cpu_precision;
        desc.cpu_tuning_path = detail::or_null(options.cpu_tuning_path);

        // The owner exists before the handle, so nothing can fail between the two.
        auto owner = std::make_shared<detail::RuntimeHandle>(library.host_, options.close_timeout);
        Observer observer{std::move(progress), nullptr};
        coverslip_error error = make<coverslip_error>();
        const detail::ConnectLock lock;
        owner->host->connect();
        const std::int32_t code = owner->host->api->runtime_open(
            &desc, observer.progress ? &Observer::tell : nullptr, &observer, &owner->handle, &error);
        owner->open = code == COVERSLIP_OK;
        if (observer.thrown) std::rethrow_exception(observer.thrown);
        detail::check(code, error);
        return Runtime(std::move(owner));
    }

    Runtime(Runtime &&) noexcept = default;
    Runtime &operator=(Runtime &&) noexcept = default;
    Runtime(const Runtime &) = delete;
    Runtime &operator=(const Runtime &) = delete;
    ~Runtime() = default;

    /** False after it was closed or moved from. */
    explicit operator bool() const noexcept { return owner_ != nullptr; }

    /** [any] Says what was opened. */
    coverslip_runtime_info info() const {
        coverslip_error error = make<coverslip_error>();
        coverslip_runtime_info out = make<coverslip_runtime_info>();
        detail::check(api().runtime_info(handle(), &out, &error), error);
        return out;
    }

    /** [any] Says what feature `index` means. */
    coverslip_feature_info feature_info(std::uint32_t index) const {
        coverslip_error error = make<coverslip_error>();
        coverslip_feature_info out = make<coverslip_feature_info>();
        detail::check(api().feature_info(handle(), index, &out, &error), error);
        return out;
    }

    /** [any] Gives totals since the runtime was opened. */
    coverslip_runtime_stats stats() const {
        coverslip_error error = make<coverslip_error>();
        coverslip_runtime_stats out = make<coverslip_runtime_stats>();
        detail::check(api().runtime_stats(handle(), &out, &error), error);
        return out;
    }

    /** [any] Limits the engine to `percent` (1..100) of the time of its cores or GPU. */
    void set_budget(std::uint32_t percent) {
        coverslip_error error = make<coverslip_error>();
        detail::check(api().runtime_set_budget(handle(), percent, &error), error);
    }

    /** Makes buffers that fit this runtime's results. */
    ResultBatch make_batch(std::uint32_t records, bool embeddings = false) const {
        const coverslip_runtime_info about = info();
        return ResultBatch(records, about.features_per_tile, embeddings ? about.embedding_width : 0);
    }

    /** [control] Reserves all memory of a slide. @throws Error with the codes of slide_begin. */
    [[nodiscard]] Slide begin_slide(const SlideOptions &options) {
        coverslip_slide_desc desc = make<coverslip_slide_desc>();
        desc.color_state = options.color_state;
        desc.scanner_id = detail::or_null(options.scanner_id);
        desc.slide_id = detail::or_null(options.slide_id);
        desc.color_name = detail::or_null(options.color_name);
        desc.mpp_x = options.mpp_x;
        desc.mpp_y = options.mpp_y;
        desc.extent_x = options.extent_x;
        desc.extent_y = options.extent_y;
        desc.extent_width = options.extent_width;
        desc.extent_height = options.extent_height;
        desc.max_frame_width = options.max_frame_width;
        desc.max_frame_height = options.max_frame_height;
        desc.spread_width = options.spread_width;
        desc.spread_height = options.spread_height;
        desc.max_tiles = options.max_tiles;
        desc.max_unpolled = options.max_unpolled;
        desc.assembly_timeout_ms = detail::to_ms(options.assembly_timeout);
        desc.result_deadline_ms = detail::to_ms(options.result_deadline);
        desc.min_coverage = options.min_coverage;
        desc.alpha = options.alpha;
        desc.stability_interval = options.stability_interval;
        desc.flags = options.flags;
        desc.tone_black = options.tone_black;
        desc.tone_white = options.tone_white;
        desc.tone_gamma = options.tone_gamma;
        desc.tone_table = options.tone_table.empty() ? nullptr : options.tone_table.data();
        desc.tone_table_size = static_cast<std::uint32_t>(options.tone_table.size());
        desc.stain = options.stain;
        detail::copy(options.white_balance, desc.white_balance);
        detail::copy(options.color_matrix, desc.color_matrix);
        detail::copy(options.white_reference, desc.white_reference);
        detail::copy(options.not_scanned, desc.not_scanned);

        coverslip_error error = make<coverslip_error>();
        coverslip_slide slide = 0;
        detail::check(api().slide_begin(handle(), &desc, &slide, &error), error);
        return Slide(owner_, slide);
    }

    /** [control] Cancels and ends every slide, whose objects then report InvalidHandle. Stops and joins every
     *  thread. Does nothing if it was closed before. @throws Error: EngineHung. */
    void close(std::chrono::milliseconds timeout) {
        if (!owner_) return;
        coverslip_error error = make<coverslip_error>();
        const std::int32_t code = owner_->close(timeout, error);
        owner_.reset();
        detail::check(code, error);
    }
    /** Does the same with the timeout of the options. */
    void close() {
        if (owner_) close(owner_->close_timeout);
    }

    /** The C handle, for calls that this wrapper does not cover. */
    coverslip_runtime handle() const noexcept { return owner_ ? owner_->handle : 0; }

private:
    explicit Runtime(std::shared_ptr<detail::RuntimeHandle> owner) noexcept : owner_(std::move(owner)) {}

    const coverslip_api &api() const {
        if (!owner_) throw Error(Code::InvalidHandle, 0, "this coverslip::Runtime was closed or moved from");
        return *owner_->host->api;
    }

    /** Carries the progress function through C, and its exception around C. */
    struct Observer {
        ProgressFunction progress;
        std::exception_ptr thrown;

        static std::int32_t COVERSLIP_CALL tell(void *user, const coverslip_progress *now) noexcept {
            auto *self = static_cast<Observer *>(user);
            try {
                return self->progress(now->stage, now->fraction) ? 0 : 1;
            } catch (...) {
                self->thrown = std::current_exception();
                return 1;
            }
        }
    };

    std::shared_ptr<detail::RuntimeHandle> owner_;
};

} // namespace coverslip

#endif /* COVERSLIP_HPP */
