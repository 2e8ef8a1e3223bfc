// A TensorRT that computes nothing itself: the test says what goes in and out, and computes it in a function of its own.
// It needs no GPU kernel, only a driver: a run copies its inputs to the host, calls the function there, and copies the
// outputs to the device, all on the caller's stream. So it runs on a real driver as on the tests' own (cuda.c).
// Compiled against NVIDIA's headers as crates/tensorrt/tests/fake is; stubs.h is made from them
// (crates/tensorrt/tests/fake/compile.rs).

#include "NvInfer.h"
#include "NvOnnxParser.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

// A method was called that the fake does not have.
[[noreturn]] static void unexpected(char const* method)
{
    fprintf(stderr, "unexpected call of %s\n", method);
    _Exit(3);
}

#include "stubs.h"

using namespace nvinfer1;

// A public object around an implementation.
template <class Public, class Implementation>
struct Object final : Public
{
    template <class... Arguments>
    explicit Object(Arguments&&... arguments)
        : implementation(std::forward<Arguments>(arguments)...)
    {
        this->mImpl = &implementation;
    }
    Implementation implementation;
};

#ifndef FAKE_PARSER

// -- what the test sets and asks ---------------------------------------------------------------------------------

// (tiles, pixels, outputs in the order of the description)
typedef void (*Compute)(int64_t, void const*, void* const*);
static Compute compute;
static std::string description;
static std::atomic<int> builds, runs, live, enqueuesLeft{-1}, buildStepMilliseconds{0}, refusedCapability{0};
static std::string complaint;

// Lines "name type width": type f or i, width 0 where each tile has one number. The first is "pixels u SIDE".
EXPORT void fake_describe(char const* text)
{
    description = text;
}
EXPORT void fake_compute(Compute function)
{
    compute = function;
}
EXPORT int fake_builds()
{
    return builds;
}
EXPORT int fake_runs()
{
    return runs;
}
// Live contexts and engines.
EXPORT int fake_objects()
{
    return live;
}
// After `left` more runs enqueueV3 fails and logs this text; -1: never.
EXPORT void fake_fail_runs(int left, char const* text)
{
    complaint = text;
    enqueuesLeft = left;
}
// The time that each of a build's ten steps takes.
EXPORT void fake_slow_build(int milliseconds)
{
    buildStepMilliseconds = milliseconds;
}

// RTX does not build for this compute capability.
EXPORT void fake_refuse_capability(int capability)
{
    refusedCapability = capability;
}

// -- tensors -----------------------------------------------------------------------------------------------------

struct Io
{
    std::string name;
    char type;
    int64_t width;

    Dims dims(int64_t batch) const
    {
        Dims dims{};
        if (type == 'u')
            dims = Dims{4, {batch, width, width, 3}};
        else if (width)
            dims = Dims{2, {batch, width}};
        else
            dims = Dims{1, {batch}};
        return dims;
    }
    // Of one tile.
    size_t bytes() const
    {
        return type == 'u' ? 3 * width * width : 4 * (width ? width : 1);
    }
    DataType dataType() const
    {
        return type == 'u' ? DataType::kUINT8 : type == 'i' ? DataType::kINT32 : DataType::kFLOAT;
    }
};

// A plan: its largest batch, then the description.
struct Plan
{
    int64_t most{0};
    std::vector<Io> io;

    explicit Plan(std::string const& text)
    {
        std::istringstream in(text);
        in >> most;
        for (Io one; in >> one.name >> one.type >> one.width;)
            io.push_back(one);
    }
    Io const* find(char const* name) const
    {
        for (auto const& one : io)
            if (one.name == name)
                return &one;
        return nullptr;
    }
};

// In a process that knows nothing of this fake: COVERSLIP_FAKE_TABLE names a file with the description's length, a line feed, the
// description, and then, for each known tile, its pixels and its outputs. Other tiles get the first one's outputs.
struct Table
{
    Table()
    {
        char const* path = getenv("COVERSLIP_FAKE_TABLE");
        FILE* file = path ? fopen(path, "rb") : nullptr;
        if (!file)
            return;
        char line[32]{};
        description.resize(fgets(line, sizeof line, file) ? atoi(line) : 0);
        if (fread(description.data(), 1, description.size(), file) != description.size())
            _Exit(4);
        for (char part[4096]; size_t const got = fread(part, 1, sizeof part, file);)
            bytes.append(part, got);
        fclose(file);
        for (auto const& io : Plan("0 " + description).io)
            sizes.push_back(io.bytes());
        for (auto const size : sizes)
            record += size;
        compute = [](int64_t tiles, void const* pixels, void* const* outputs) { table.answer(tiles, pixels, outputs); };
    }
    void answer(int64_t tiles, void const* pixels, void* const* outputs)
    {
        for (int64_t tile = 0; tile < tiles; ++tile)
        {
            auto const* wanted = static_cast<char const*>(pixels) + tile * sizes[0];
            char const* found = bytes.data();
            for (size_t at = 0; at + record <= bytes.size(); at += record)
                if (!memcmp(bytes.data() + at, wanted, sizes[0]))
                    found = bytes.data() + at;
            found += sizes[0];
            for (size_t output = 1; output < sizes.size(); found += sizes[output++])
                memcpy(static_cast<char*>(outputs[output - 1]) + tile * sizes[output], found, sizes[output]);
        }
    }
    std::string bytes;
    std::vector<size_t> sizes;
    size_t record{0};
    static Table table;
};
Table Table::table;

struct FakeHostMemory : StubHostMemory
{
    explicit FakeHostMemory(std::string bytes)
        : bytes(std::move(bytes))
    {
    }
    void* data() const noexcept override
    {
        return const_cast<char*>(bytes.data());
    }
    std::size_t size() const noexcept override
    {
        return bytes.size();
    }
    std::string bytes;
};

static IHostMemory* hostMemory(std::string bytes)
{
    return new Object<IHostMemory, FakeHostMemory>(std::move(bytes));
}

struct FakeTensor : StubTensor
{
    explicit FakeTensor(Io io)
        : io(std::move(io))
    {
    }
    char const* getName() const noexcept override
    {
        return io.name.c_str();
    }
    Dims getDimensions() const noexcept override
    {
        return io.dims(-1);
    }
    DataType getType() const noexcept override
    {
        return io.dataType();
    }
    Io io;
};

// -- building ----------------------------------------------------------------------------------------------------

struct FakeNetwork : StubNetworkDefinition
{
    FakeNetwork()
    {
        for (auto const& io : Plan("0 " + description).io)
            tensors.push_back(std::make_unique<Object<ITensor, FakeTensor>>(io));
    }
    int32_t getNbLayers() const noexcept override
    {
        return 1;
    }
    int32_t getNbInputs() const noexcept override
    {
        return 1;
    }
    ITensor* getInput(int32_t) const noexcept override
    {
        return tensors[0].get();
    }
    int32_t getNbOutputs() const noexcept override
    {
        return static_cast<int32_t>(tensors.size()) - 1;
    }
    ITensor* getOutput(int32_t index) const noexcept override
    {
        return tensors[index + 1].get();
    }
    std::vector<std::unique_ptr<Object<ITensor, FakeTensor>>> tensors;
};

struct FakeProfile : StubOptimizationProfile
{
    bool setDimensions(char const*, OptProfileSelector select, Dims const& dims) noexcept override
    {
        if (select == OptProfileSelector::kMAX)
            most = dims.d[0];
        return true;
    }
    bool isValid() const noexcept override
    {
        return true;
    }
    int64_t most{0};
};

struct FakeTimingCache : StubTimingCache
{
    explicit FakeTimingCache(std::string bytes)
        : bytes(std::move(bytes))
    {
    }
    IHostMemory* serialize() const noexcept override
    {
        return hostMemory(bytes + "timed;");
    }
    std::string bytes;
};

struct FakeConfig : StubBuilderConfig
{
    void clearFlag(BuilderFlag) noexcept override {}
    void setFlag(BuilderFlag) noexcept override {}
    int32_t addOptimizationProfile(IOptimizationProfile const* profile) noexcept override
    {
        most = static_cast<Object<IOptimizationProfile, FakeProfile> const*>(profile)->implementation.most;
        return 0;
    }
    ITimingCache* createTimingCache(void const* blob, std::size_t size) const noexcept override
    {
        return new Object<ITimingCache, FakeTimingCache>(std::string(static_cast<char const*>(blob), size));
    }
    bool setTimingCache(ITimingCache const&, bool) noexcept override
    {
        return true;
    }
    void setMemoryPoolLimit(MemoryPoolType, std::size_t) noexcept override {}
#ifdef FAKE_RTX
    bool setNbComputeCapabilities(int32_t) noexcept override
    {
        return true;
    }
    bool setComputeCapability(ComputeCapability capability, int32_t) noexcept override
    {
        return static_cast<int32_t>(capability) != refusedCapability;
    }
#endif
    void setProgressMonitor(IProgressMonitor* given) noexcept override
    {
        monitor = given;
    }
    int64_t most{0};
    IProgressMonitor* monitor{nullptr};
};

struct FakeBuilder : StubBuilder
{
    IBuilderConfig* createBuilderConfig() noexcept override
    {
        return new Object<IBuilderConfig, FakeConfig>();
    }
    INetworkDefinition* createNetworkV2(NetworkDefinitionCreationFlags) noexcept override
    {
        return new Object<INetworkDefinition, FakeNetwork>();
    }
    IOptimizationProfile* createOptimizationProfile() noexcept override
    {
        profiles.push_back(std::make_unique<Object<IOptimizationProfile, FakeProfile>>());
        return profiles.back().get();
    }
    IHostMemory* buildSerializedNetwork(INetworkDefinition&, IBuilderConfig& config) noexcept override
    {
        auto& settings = static_cast<Object<IBuilderConfig, FakeConfig>&>(config).implementation;
        ++builds;
        bool on = true;
        settings.monitor->phaseStart("build", nullptr, 10);
        for (int step = 0; on && step < 10; ++step)
        {
            usleep(1000 * buildStepMilliseconds);
            on = settings.monitor->stepComplete("build", step);
        }
        settings.monitor->phaseFinish("build");
        // The header that RTX looks at has 64 bytes.
        std::string plan = std::to_string(settings.most) + " " + description;
        return on ? hostMemory(plan + std::string(plan.size() < 64 ? 64 - plan.size() : 0, ' ')) : nullptr;
    }
    std::vector<std::unique_ptr<Object<IOptimizationProfile, FakeProfile>>> profiles;
};

// -- running -----------------------------------------------------------------------------------------------------

// What of the driver a run needs, whichever driver the process has.
struct Driver
{
    int (*copy)(uint64_t to, uint64_t from, size_t bytes, void* stream);
    int (*call)(void* stream, void (*work)(void*), void* argument);
    int (*allocate)(void** memory, size_t bytes);
    int (*release)(void* memory);

    static Driver const& get()
    {
        static Driver const driver;
        return driver;
    }

    template <class Function>
    static void find(void* library, char const* name, Function& function)
    {
        function = reinterpret_cast<Function>(library ? dlsym(library, name) : nullptr);
        if (!function)
            unexpected(name);
    }

private:
    Driver()
    {
        void* library = dlopen("libcuda.so.1", RTLD_NOW);
        find(library, "cuMemcpyAsync", copy);
        find(library, "cuLaunchHostFunc", call);
        find(library, "cuMemAllocHost_v2", allocate);
        find(library, "cuMemFreeHost", release);
    }
};

// Pinned memory, which the driver copies to and from while the stream runs.
struct Pinned
{
    explicit Pinned(size_t bytes)
    {
        code = Driver::get().allocate(&memory, bytes ? bytes : 1);
    }
    ~Pinned()
    {
        if (!code)
            Driver::get().release(memory);
    }
    Pinned(Pinned const&) = delete;
    void* memory{nullptr};
    int code;
};

// One run, as the stream keeps it: a shape and host memory that later calls do not change.
struct Run
{
    int64_t batch;
    void* pixels;
    std::vector<void*> outputs;
};

// Once, where COVERSLIP_FAKE_SABOTAGE names a file: it is removed, and what it says is done on the thread that enqueues.
//   segv   a crash in the driver    hang   it never returns    fault   a kernel that writes where no memory is
static void sabotage(void* stream)
{
    char const* path = getenv("COVERSLIP_FAKE_SABOTAGE");
    FILE* file = path ? fopen(path, "rb") : nullptr;
    if (!file)
        return;
    char what[16]{};
    bool const read = fscanf(file, "%15s", what) == 1;
    fclose(file);
    if (!read || unlink(path))
        return;
    if (!strcmp(what, "segv"))
        *reinterpret_cast<int volatile*>(8) = 1;
    while (!strcmp(what, "hang"))
        sleep(1);
    if (strcmp(what, "fault"))
        return;
    static char const ptx[] = ".version 6.3\n.target sm_75\n.address_size 64\n.visible .entry fault()\n{\n"
                              ".reg .b32 %r<2>;\n.reg .b64 %rd<2>;\nmov.u64 %rd1, 16;\nmov.u32 %r1, 1;\n"
                              "st.global.u32 [%rd1], %r1;\nret;\n}\n";
    void* library = dlopen("libcuda.so.1", RTLD_NOW);
    int (*load)(void**, void const*);
    int (*get)(void**, void*, char const*);
    int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
    Driver::find(library, "cuModuleLoadData", load);
    Driver::find(library, "cuModuleGetFunction", get);
    Driver::find(library, "cuLaunchKernel", launch);
    void *module = nullptr, *function = nullptr;
    if (load(&module, ptx) || get(&function, module, "fault") || launch(function, 1, 1, 1, 1, 1, 1, 0, stream, nullptr, nullptr))
        unexpected("a kernel that faults");
}

// COVERSLIP_FAKE_PACE: microseconds that a batch takes, and each tile in it, one batch at a time, as on one GPU.
static void take_time(int64_t tiles)
{
    static char const* const pace = getenv("COVERSLIP_FAKE_PACE");
    static std::mutex gpu;
    long batch = 0, tile = 0;
    if (!pace || sscanf(pace, "%ld %ld", &batch, &tile) != 2)
        return;
    std::lock_guard<std::mutex> const alone(gpu);
    usleep(batch + tile * tiles);
}

static void run(void* argument)
{
    auto const& one = *static_cast<Run*>(argument);
    ++runs;
    take_time(one.batch);
    if (compute)
        compute(one.batch, one.pixels, one.outputs.data());
}

#ifdef FAKE_RTX
struct FakeRuntimeCache : StubRuntimeCache
{
    IHostMemory* serialize() const noexcept override
    {
        return hostMemory("compiled kernels");
    }
    bool deserialize(void const* blob, size_t size) noexcept override
    {
        return std::string(static_cast<char const*>(blob), size) == "compiled kernels";
    }
};
#endif

struct FakeRuntimeConfig : StubRuntimeConfig
{
#ifdef FAKE_RTX
    IRuntimeCache* createRuntimeCache() const noexcept override
    {
        return new Object<IRuntimeCache, FakeRuntimeCache>();
    }
    bool setRuntimeCache(IRuntimeCache const&) noexcept override
    {
        return true;
    }
    bool setCudaGraphStrategy(CudaGraphStrategy) noexcept override
    {
        return true;
    }
#endif
};

struct FakeContext : StubExecutionContext
{
    FakeContext(Plan const& plan, ILogger& logger)
        : plan(plan)
        , addresses(plan.io.size())
        , logger(logger)
    {
        ++live;
        for (auto const& io : plan.io)
            staging.push_back(std::make_unique<Pinned>(plan.most * io.bytes()));
    }
    bool isWhole() const
    {
        for (auto const& memory : staging)
            if (memory->code)
                return false;
        return true;
    }
    ~FakeContext() override
    {
        --live;
    }
    bool setInputShape(char const*, Dims const& dims) noexcept override
    {
        batch = dims.d[0];
        return batch >= 1 && batch <= plan.most;
    }
    Dims getTensorShape(char const* name) const noexcept override
    {
        return plan.find(name)->dims(batch);
    }
    bool setTensorAddress(char const* name, void* data) noexcept override
    {
        addresses[plan.find(name) - plan.io.data()] = data;
        return true;
    }
    bool enqueueV3(cudaStream_t stream) noexcept override
    {
        sabotage(stream);
        if (enqueuesLeft == 0)
        {
            logger.log(ILogger::Severity::kERROR, complaint.c_str());
            return false;
        }
        if (enqueuesLeft > 0)
            --enqueuesLeft;
        // Nobody frees it: a recorded graph runs it again.
        auto* one = new Run{batch, staging[0]->memory, {}};
        for (size_t output = 1; output < staging.size(); ++output)
            one->outputs.push_back(staging[output]->memory);
        int code = copy(0, staging[0]->memory, addresses[0], stream);
        if (!code)
            code = Driver::get().call(stream, run, one);
        for (size_t output = 1; !code && output < staging.size(); ++output)
            code = copy(output, addresses[output], staging[output]->memory, stream);
        if (code)
            logger.log(ILogger::Severity::kERROR, ("Cuda Driver (error " + std::to_string(code) + ")").c_str());
        return !code;
    }
    int copy(size_t which, void* to, void const* from, void* stream) const
    {
        auto const address = [](void const* pointer) { return reinterpret_cast<uint64_t>(pointer); };
        return Driver::get().copy(address(to), address(from), batch * plan.io[which].bytes(), stream);
    }
    Plan plan;
    int64_t batch{-1};
    std::vector<void*> addresses;
    std::vector<std::unique_ptr<Pinned>> staging;
    ILogger& logger;
};

// The context, or nothing where the host's memory cannot be pinned.
static IExecutionContext* context(Plan const& plan, ILogger& logger)
{
    auto made = std::make_unique<Object<IExecutionContext, FakeContext>>(plan, logger);
    if (made->implementation.isWhole())
        return made.release();
    logger.log(ILogger::Severity::kERROR, "Cuda Driver (out of memory)");
    return nullptr;
}

struct FakeEngine : StubCudaEngine
{
    FakeEngine(Plan const& plan, ILogger& logger)
        : plan(plan)
        , logger(logger)
    {
        ++live;
    }
    ~FakeEngine() override
    {
        --live;
    }
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy) noexcept override
    {
        return context(plan, logger);
    }
    IExecutionContext* createExecutionContextWithRuntimeConfig(IRuntimeConfig*) noexcept override
    {
        return context(plan, logger);
    }
    IRuntimeConfig* createRuntimeConfig() noexcept override
    {
        return new Object<IRuntimeConfig, FakeRuntimeConfig>();
    }
    Dims getTensorShape(char const* name) const noexcept override
    {
        return plan.find(name)->dims(-1);
    }
    DataType getTensorDataType(char const* name) const noexcept override
    {
        return plan.find(name)->dataType();
    }
    TensorLocation getTensorLocation(char const*) const noexcept override
    {
        return TensorLocation::kDEVICE;
    }
    TensorIOMode getTensorIOMode(char const* name) const noexcept override
    {
        return plan.find(name)->type == 'u' ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    TensorFormat getTensorFormat(char const*) const noexcept override
    {
        return TensorFormat::kLINEAR;
    }
    Dims getProfileShape(char const* name, int32_t, OptProfileSelector select) const noexcept override
    {
        return plan.find(name)->dims(select == OptProfileSelector::kMAX ? plan.most : 1);
    }
    int32_t getNbIOTensors() const noexcept override
    {
        return static_cast<int32_t>(plan.io.size());
    }
    char const* getIOTensorName(int32_t index) const noexcept override
    {
        return plan.io[index].name.c_str();
    }
    int64_t getDeviceMemorySizeV2() const noexcept override
    {
        return 1 << 20;
    }
    Plan plan;
    ILogger& logger;
};

struct FakeRuntime : StubRuntime
{
    explicit FakeRuntime(ILogger& logger)
        : logger(logger)
    {
    }
    ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override
    {
        Plan const plan(std::string(static_cast<char const*>(blob), size));
        if (plan.most && !plan.io.empty())
            return new Object<ICudaEngine, FakeEngine>(plan, logger);
        logger.log(ILogger::Severity::kERROR, "not a plan of mine");
        return nullptr;
    }
#ifdef FAKE_RTX
    int64_t getEngineHeaderSize() const noexcept override
    {
        return 64;
    }
    EngineValidity getEngineValidity(void const*, int64_t, uint64_t* diagnostics) const noexcept override
    {
        *diagnostics = 0;
        return EngineValidity::kVALID;
    }
#endif
    ILogger& logger;
};

EXPORT int32_t getInferLibVersion() noexcept
{
    return NV_TENSORRT_MAJOR * 10000 + NV_TENSORRT_MINOR * 100 + NV_TENSORRT_PATCH;
}
EXPORT int32_t getInferLibMajorVersion() noexcept
{
    return NV_TENSORRT_MAJOR;
}
EXPORT int32_t getInferLibMinorVersion() noexcept
{
    return NV_TENSORRT_MINOR;
}
EXPORT int32_t getInferLibPatchVersion() noexcept
{
    return NV_TENSORRT_PATCH;
}
EXPORT int32_t getInferLibBuildVersion() noexcept
{
    return NV_TENSORRT_BUILD;
}
EXPORT void* createInferBuilder_INTERNAL(void*, int32_t) noexcept
{
    return new Object<IBuilder, FakeBuilder>();
}
EXPORT void* createInferRuntime_INTERNAL(void* logger, int32_t) noexcept
{
    return new Object<IRuntime, FakeRuntime>(*static_cast<ILogger*>(logger));
}

#else

// Takes any model: what it says is what the test described.
struct FakeParser : StubParser
{
    ~FakeParser() noexcept override = default;
    bool parse(void const*, size_t, char const*) noexcept override
    {
        return true;
    }
    bool loadModelProto(void const*, size_t, char const*) noexcept override
    {
        return true;
    }
    bool loadInitializer(char const*, void const* data, size_t size) noexcept override
    {
        // Weights are read to their end, as the real one does when it builds.
        auto const* bytes = static_cast<unsigned char const volatile*>(data);
        return size > 0 && bytes[0] + bytes[size - 1] >= 0;
    }
    bool parseModelProto() noexcept override
    {
        return true;
    }
    int getNbErrors() const noexcept override
    {
        return 0;
    }
    void clearErrors() noexcept override {}
};

EXPORT int getNvOnnxParserVersion() noexcept
{
    return 200;
}
EXPORT void* createNvOnnxParser_INTERNAL(void*, void*, int) noexcept
{
    // As the real one does it: the pointer is to the interface.
    return static_cast<nvonnxparser::IParser*>(new FakeParser());
}
#endif
