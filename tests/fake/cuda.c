/* A libcuda.so.1 without a GPU, for tests. Memory is the host's. Streams are queues that run when they are waited for, so
 * that a caller that forgets to wait reads what was there before. The driver counts what lives, refuses what it is told to
 * refuse, and knows the threads on which nobody may call it. A kernel whose name is "fault" takes the context with it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int CUresult;
typedef void (*Work)(void *argument);

/* -- what the test sets and asks ------------------------------------------------------------------------------- */

static atomic_int live, launches, write_combined, wrong_priority, trespasses;
static __thread int forbidden;
static struct { char call[64]; int skip, code; } fault;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int capability_major = 8, capability_minor = 9, capture_refused;
static atomic_int retained, lost;
static uint64_t free_bytes = 8ull << 30;
static atomic_ullong used_bytes;

int fake_live(void) { return live; }
int fake_launches(void) { return launches; }
int fake_write_combined(void) { return write_combined; }
int fake_wrong_priority(void) { return wrong_priority; }
int fake_trespasses(void) { return trespasses; }
/* This thread is the host's. */
void fake_forbid_thread(void) { forbidden = 1; }
void fake_set_capability(int major, int minor) { capability_major = major, capability_minor = minor; }
void fake_refuse_capture(int refuse) { capture_refused = refuse; }
void fake_set_free_memory(uint64_t bytes) { free_bytes = bytes; }
/* After `skip` more calls, `call` fails with `code`. Code 0 ends that. */
void fake_fail(const char *call, int skip, int code)
{
    pthread_mutex_lock(&lock);
    snprintf(fault.call, sizeof fault.call, "%s", call);
    fault.skip = skip, fault.code = code;
    pthread_mutex_unlock(&lock);
}

static CUresult enter(const char *call)
{
    if (forbidden)
        ++trespasses;
    pthread_mutex_lock(&lock);
    CUresult code = lost;
    if (fault.code && !strcmp(fault.call, call) && fault.skip-- <= 0)
        code = fault.code;
    pthread_mutex_unlock(&lock);
    return code;
}
#define ENTER(call) do { CUresult code = enter(call); if (code) return code; } while (0)

/* -- driver and device ------------------------------------------------------------------------------------------ */

CUresult cuInit(unsigned flags) { ENTER("cuInit"); return 0; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return 0; }
CUresult cuDeviceGetCount(int *count) { *count = 2; return 0; }
CUresult cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
CUresult cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Fake %d", device); return 0; }
CUresult cuDeviceGetUuid(unsigned char *uuid, int device)
{
    for (int i = 0; i < 16; ++i)
        uuid[i] = (unsigned char)(16 * (device + 1) + i);
    return 0;
}
CUresult cuDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute == 75 ? capability_major : attribute == 76 ? capability_minor : 0;
    return 0;
}
CUresult cuDevicePrimaryCtxRetain(void **context, int device)
{
    ENTER("cuDevicePrimaryCtxRetain");
    *context = (void *)(uintptr_t)(device + 1);
    ++live, ++retained;
    return 0;
}
/* The last release ends the context, and with it the error that it is stuck with. */
CUresult cuDevicePrimaryCtxRelease_v2(int device)
{
    CUresult code = enter("cuDevicePrimaryCtxRelease");
    --live;
    if (--retained == 0)
        lost = 0;
    return code;
}
CUresult cuCtxSetCurrent(void *context) { ENTER("cuCtxSetCurrent"); return 0; }
CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0, *greatest = -5; return 0; }
CUresult cuCtxSynchronize(void) { ENTER("cuCtxSynchronize"); return 0; }
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 8ull << 30; return 0; }

/* -- memory ------------------------------------------------------------------------------------------------------ */

enum { PAGE = 4096, FILLED = 64 << 20, OUT_OF_MEMORY = 2 };

/* A block's size stands in the page before it. What is larger than FILLED is not touched before its user does. */
static void *get(size_t bytes)
{
    size_t *block = aligned_alloc(PAGE, PAGE + (bytes + PAGE - 1) / PAGE * PAGE);
    if (!block)
        return NULL;
    char *memory = (char *)block + PAGE;
    *block = bytes;
    memset(memory, 0xCC, bytes < FILLED ? bytes : FILLED);
    ++live;
    return memory;
}
static size_t give_back(void *memory)
{
    size_t *block = (size_t *)((char *)memory - PAGE), bytes = *block;
    free(block);
    --live;
    return bytes;
}
CUresult cuMemGetInfo_v2(size_t *left, size_t *total)
{
    *left = free_bytes > used_bytes ? free_bytes - used_bytes : 0, *total = 8ull << 30;
    return 0;
}
CUresult cuMemAlloc_v2(uint64_t *address, size_t bytes)
{
    ENTER("cuMemAlloc");
    void *memory = used_bytes + bytes > free_bytes ? NULL : get(bytes);
    if (!memory)
        return OUT_OF_MEMORY;
    used_bytes += bytes;
    *address = (uint64_t)(uintptr_t)memory;
    return 0;
}
CUresult cuMemFree_v2(uint64_t address)
{
    CUresult code = enter("cuMemFree");
    used_bytes -= give_back((void *)(uintptr_t)address);
    return code;
}
CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    ENTER("cuMemHostAlloc");
    *memory = get(bytes);
    write_combined += *memory && flags == 4;
    return *memory ? 0 : OUT_OF_MEMORY;
}
CUresult cuMemAllocHost_v2(void **memory, size_t bytes)
{
    ENTER("cuMemAllocHost");
    *memory = get(bytes);
    return *memory ? 0 : OUT_OF_MEMORY;
}
CUresult cuMemFreeHost(void *memory)
{
    CUresult code = enter("cuMemFreeHost");
    give_back(memory);
    return code;
}
/* Memory of others. COVERSLIP_FAKE_PINS_NOTHING: as a driver that cannot register what is read-only. */
enum { READ_ONLY = 8, NOT_SUPPORTED = 801 };
CUresult cuMemHostRegister_v2(void *memory, size_t bytes, unsigned flags)
{
    ENTER("cuMemHostRegister");
    if (flags != READ_ONLY || getenv("COVERSLIP_FAKE_PINS_NOTHING"))
        return NOT_SUPPORTED;
    ++live;
    return 0;
}
CUresult cuMemHostUnregister(void *memory) { CUresult code = enter("cuMemHostUnregister"); --live; return code; }

/* -- streams: queues of work ---------------------------------------------------------------------------------------- */

typedef struct Item { Work work; void *argument; struct Item *next; } Item;
typedef struct Stream { Item *first, *last; int capturing, priority; Item *recorded, *recorded_last; } Stream;
typedef struct Copy { void *to; const void *from; size_t bytes; } Copy;

static void append(Item **first, Item **last, Work work, void *argument)
{
    Item *item = malloc(sizeof *item);
    *item = (Item){work, argument, NULL};
    *(*first ? &(*last)->next : first) = item;
    *last = item;
}
/* Appends work to a stream, or to what it records. Nothing frees the argument: tests are short. */
static void put(void *stream, Work work, void *argument)
{
    Stream *s = stream;
    if (s->capturing)
        append(&s->recorded, &s->recorded_last, work, argument);
    else
        append(&s->first, &s->last, work, argument);
}
static void run(Stream *s)
{
    while (s->first) {
        Item *item = s->first;
        s->first = item->next;
        item->work(item->argument);
        free(item);
    }
}
static void copy(void *argument)
{
    Copy *c = argument;
    memcpy(c->to, c->from, c->bytes);
}
static CUresult put_copy(void *stream, void *to, const void *from, size_t bytes)
{
    Copy *c = malloc(sizeof *c);
    *c = (Copy){to, from, bytes};
    put(stream, copy, c);
    return 0;
}
CUresult cuStreamCreateWithPriority(void **stream, unsigned flags, int priority)
{
    ENTER("cuStreamCreate");
    wrong_priority += priority != 0 || flags != 1;
    *stream = calloc(1, sizeof(Stream));
    ((Stream *)*stream)->priority = priority;
    ++live;
    return 0;
}
CUresult cuStreamGetPriority(void *stream, int *priority) { *priority = ((Stream *)stream)->priority; return 0; }
CUresult cuStreamSynchronize(void *stream)
{
    ENTER("cuStreamSynchronize");
    run(stream);
    return lost;
}
CUresult cuStreamDestroy_v2(void *stream) { enter("cuStreamDestroy"); run(stream); free(stream); --live; return 0; }
CUresult cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream)
{
    ENTER("cuMemcpyHtoDAsync");
    return put_copy(stream, (void *)(uintptr_t)to, from, bytes);
}
CUresult cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream)
{
    ENTER("cuMemcpyDtoHAsync");
    return put_copy(stream, to, (const void *)(uintptr_t)from, bytes);
}
CUresult cuMemcpyAsync(uint64_t to, uint64_t from, size_t bytes, void *stream)
{
    ENTER("cuMemcpyAsync");
    return put_copy(stream, (void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
}
CUresult cuLaunchHostFunc(void *stream, Work work, void *argument)
{
    ENTER("cuLaunchHostFunc");
    put(stream, work, argument);
    return 0;
}
CUresult cuEventCreate(void **event, unsigned flags)
{
    ENTER("cuEventCreate");
    *event = calloc(1, sizeof(void *));
    ++live;
    return 0;
}
CUresult cuEventRecord(void *event, void *stream) { ENTER("cuEventRecord"); *(void **)event = stream; return 0; }
CUresult cuEventSynchronize(void *event)
{
    ENTER("cuEventSynchronize");
    if (*(void **)event)
        run(*(void **)event);
    return lost;
}
CUresult cuEventDestroy_v2(void *event) { enter("cuEventDestroy"); free(event); --live; return 0; }

/* -- graphs: work that was recorded ---------------------------------------------------------------------------------- */

CUresult cuStreamBeginCapture_v2(void *stream, int mode)
{
    ENTER("cuStreamBeginCapture");
    if (capture_refused)
        return 801;
    ((Stream *)stream)->capturing = 1;
    return 0;
}
CUresult cuStreamEndCapture(void *stream, void **graph)
{
    Stream *s = stream;
    s->capturing = 0;
    *graph = s->recorded;
    s->recorded = s->recorded_last = NULL;
    return 0;
}
CUresult cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags)
{
    *exec = graph;
    ++live;
    return 0;
}
CUresult cuGraphDestroy(void *graph) { return 0; }
CUresult cuGraphExecDestroy(void *exec) { enter("cuGraphExecDestroy"); --live; return 0; }
CUresult cuGraphLaunch(void *exec, void *stream)
{
    ENTER("cuGraphLaunch");
    ++launches;
    for (Item *item = exec; item; item = item->next)
        put(stream, item->work, item->argument);
    return 0;
}

/* -- kernels: none does anything, but that "fault" loses the context -------------------------------------------------- */

enum { ILLEGAL_ADDRESS = 700 };

static void fall(void *argument) { lost = ILLEGAL_ADDRESS; }
static void nothing(void *argument) {}
CUresult cuModuleLoadData(void **module, const void *image) { ENTER("cuModuleLoadData"); *module = &lost; return 0; }
CUresult cuModuleGetFunction(Work *function, void *module, const char *name)
{
    *function = strcmp(name, "fault") ? nothing : fall;
    return 0;
}
CUresult cuLaunchKernel(Work function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, void *stream, void **parameters, void **extra)
{
    ENTER("cuLaunchKernel");
    put(stream, function, NULL);
    return 0;
}

/* -- what hosts of their own use beside the plugin --------------------------------------------------------------- */

CUresult cuStreamCreate(void **stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }
