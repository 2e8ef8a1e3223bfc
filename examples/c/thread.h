/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * thread.h — start a thread and join it, on POSIX and on Windows. C11 has <threads.h> for this, but not every
 * compiler comes with it.
 */
#ifndef THREAD_H
#define THREAD_H

#include <stdbool.h>
#include <stddef.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <process.h>
#include <windows.h>
#else
#include <pthread.h>
#endif

/** A running thread. Stays where it is until it has been joined. */
typedef struct thread {
    void (*body)(void *);
    void *argument;
#if defined(_WIN32)
    HANDLE handle;
#else
    pthread_t handle;
#endif
} thread;

#if defined(_WIN32)
static unsigned __stdcall thread_main(void *self) {
    const thread *t = self;
    t->body(t->argument);
    return 0;
}
#else
static void *thread_main(void *self) {
    const thread *t = self;
    t->body(t->argument);
    return NULL;
}
#endif

/** Runs `body(argument)` on a thread of its own. Returns false where the system has no more threads. */
static inline bool thread_start(thread *t, void (*body)(void *), void *argument) {
    t->body = body;
    t->argument = argument;
#if defined(_WIN32)
    t->handle = (HANDLE)_beginthreadex(NULL, 0, thread_main, t, 0, NULL);
    return t->handle != NULL;
#else
    return pthread_create(&t->handle, NULL, thread_main, t) == 0;
#endif
}

/** Waits until the body has returned. */
static inline void thread_join(thread *t) {
#if defined(_WIN32)
    WaitForSingleObject(t->handle, INFINITE);
    CloseHandle(t->handle);
#else
    pthread_join(t->handle, NULL);
#endif
}

#endif /* THREAD_H */
