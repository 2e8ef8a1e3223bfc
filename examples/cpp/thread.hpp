// SPDX-License-Identifier: MIT OR Apache-2.0
//
// thread.hpp — std::thread, or what takes its place where a MinGW without POSIX threads has none (before GCC 13).
#ifndef THREAD_HPP
#define THREAD_HPP

#include <thread>

#if defined(_WIN32) && defined(__GLIBCXX__) && !defined(_GLIBCXX_HAS_GTHREADS)

#include <functional>
#include <memory>
#include <system_error>

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <process.h>
#include <windows.h>

namespace example {

/// As much of std::thread as the examples use. It must be joined before it is destroyed.
class thread {
public:
    explicit thread(std::function<void()> body) {
        auto argument = std::make_unique<std::function<void()>>(std::move(body));
        handle_ = reinterpret_cast<HANDLE>(_beginthreadex(nullptr, 0, &run, argument.get(), 0, nullptr));
        if (handle_ == nullptr) throw std::system_error(errno, std::generic_category(), "no thread");
        argument.release(); // It is the thread's now.
    }
    thread(const thread &) = delete;
    thread &operator=(const thread &) = delete;

    bool joinable() const noexcept { return handle_ != nullptr; }
    void join() {
        WaitForSingleObject(handle_, INFINITE);
        CloseHandle(handle_);
        handle_ = nullptr;
    }

private:
    static unsigned __stdcall run(void *argument) {
        const std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()> *>(argument));
        (*body)();
        return 0;
    }
    HANDLE handle_ = nullptr;
};

} // namespace example

#else

namespace example {
using std::thread;
} // namespace example

#endif

#endif // THREAD_HPP
