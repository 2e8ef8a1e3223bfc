// A TensorRT that only records how it was called. tests/fake/compile.rs compiles it against NVIDIA's own headers, so that a
// C++ compiler, not a list of ours, decides where each method lies. stubs.h is made from the same headers: classes
// Stub<X> that override every method of apiv::V<X> (and of the parser's classes) with one that ends the process.

#include "NvInfer.h"
#include "NvOnnxParser.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

static std::mutex lock;
static std::string book;

// Writes a line into the book.
__attribute__((format(printf, 1, 2))) static void record(char const* format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    std::lock_guard<std::mutex> guard(lock);
    book.append(line).push_back('\n');
}

// The binding does not use this method: it called a wrong slot.
[[noreturn]] static void unexpected(char const* method)
{
    fprintf(stderr, "unexpected call of %s\n", method);
    _Exit(3);
}

#include "stubs.h"

using namespace nvinfer1;

// Returns the book and begins a new one.
EXPORT char const* fake_take_book()
{
    static std::string taken;
    std::lock_guard<std::mutex> guard(lock);
    taken.swap(book);
    book.clear();
    return taken.c_str();
}

static std::string text(Dims const& dims)
{
    std::string out = "[";
    for (int i = 0; i < dims.nbDims; ++i)
        out += (i ? "," : "") + std::to_string(dims.d[i]);
    return out + "]";
}

static Dims shape(std::vector<int64_t> const& extents)
{
    Dims dims{};
    dims.nbDims = static_cast<int32_t>(extents.size());
    for (size_t i = 0; i < extents.size(); ++i)
        dims.d[i] = extents[i];
    return dims;
}

static std::string text(IVersionedInterface const& object)
{
    auto const info = object.getInterfaceInfo();
    auto const language = object.getAPILanguage() == APILanguage::kCPP ? "C++" : "?";
    return std::string(info.kind) + " " + std::to_string(info.major) + "." + std::to_string(info.minor) + " " + language;
}

// Whether the release is TensorRT 10 from this one on, or newer.
#if defined(FAKE_10)
#define SINCE_10(minor) (NV_TENSORRT_MINOR >= minor)
#else
#define SINCE_10(minor) 1
#endif
#define HAS_RUNTIME_CONFIG SINCE_10(11)
#if SINCE_10(1)
#define PARSER_NOEXCEPT noexcept
#else
#define PARSER_NOEXCEPT
#endif

#ifdef FAKE_10
// No versioned interface yet.
static std::string text(ILogger const&)
{
    return "ILogger";
}
#endif

// A public object around an implementation.
template <class Public, class Implementation>
struct Object final : Public
{
    template <class... Arguments>
    explicit Object(char const* name, Arguments&&... arguments)
        : name(name)
        , implementation(std::forward<Arguments>(arguments)...)
    {
        this->mImpl = &implementation;
    }
    ~Object() override
    {
        record("~%s", name);
    }
    char const* name;
    Implementation implementation;
};

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
    return new Object<IHostMemory, FakeHostMemory>("IHostMemory", std::move(bytes));
}

struct FakeTensor : StubTensor
{
    FakeTensor(char const* name, Dims dims, DataType type)
        : name(name)
        , dims(dims)
        , type(type)
    {
    }
    char const* getName() const noexcept override
    {
        return name;
    }
    Dims getDimensions() const noexcept override
    {
        return dims;
    }
    DataType getType() const noexcept override
    {
        return type;
    }
    char const* name;
    Dims dims;
    DataType type;
};

struct FakeNetwork : StubNetworkDefinition
{
    int32_t getNbInputs() const noexcept override
    {
        return 2;
    }
    ITensor* getInput(int32_t index) const noexcept override
    {
        return index == 0 ? &first : &second;
    }
    int32_t getNbOutputs() const noexcept override
    {
        return 1;
    }
    ITensor* getOutput(int32_t) const noexcept override
    {
        return &third;
    }
    // Eight extents, so that every part of a Dims is seen.
    mutable Object<ITensor, FakeTensor> first{"ITensor", "first", shape({1, 2, 3, 4, 5, 6, 7, -1}), DataType::kUINT8};
    mutable Object<ITensor, FakeTensor> second{"ITensor", "second", shape({}), DataType::kBF16};
    mutable Object<ITensor, FakeTensor> third{"ITensor", "third", shape({-1, 4}), DataType::kHALF};
};

struct FakeProfile : StubOptimizationProfile
{
    bool setDimensions(char const* input, OptProfileSelector select, Dims const& dims) noexcept override
    {
        record("profile setDimensions %s %d %s", input, static_cast<int>(select), text(dims).c_str());
        return dims.nbDims != 1;
    }
    bool isValid() const noexcept override
    {
        return true;
    }
};

struct FakeTimingCache : StubTimingCache
{
    explicit FakeTimingCache(std::string bytes)
        : bytes(std::move(bytes))
    {
    }
    IHostMemory* serialize() const noexcept override
    {
        return hostMemory(bytes + "+");
    }
    std::string bytes;
};

struct FakeConfig : StubBuilderConfig
{
    void clearFlag(BuilderFlag flag) noexcept override
    {
        record("config clearFlag %d", static_cast<int>(flag));
    }
    int32_t addOptimizationProfile(IOptimizationProfile const* profile) noexcept override
    {
        record("config addOptimizationProfile valid=%d", profile->isValid());
        return profiles++;
    }
    ITimingCache* createTimingCache(void const* blob, std::size_t size) const noexcept override
    {
        return new Object<ITimingCache, FakeTimingCache>(
            "ITimingCache", blob ? std::string(static_cast<char const*>(blob), size) : std::string("new"));
    }
    bool setTimingCache(ITimingCache const& cache, bool ignore) noexcept override
    {
        std::unique_ptr<IHostMemory> bytes(cache.serialize());
        record("config setTimingCache %.*s %d", static_cast<int>(bytes->size()),
            static_cast<char const*>(bytes->data()), ignore);
        return true;
    }
    void setMemoryPoolLimit(MemoryPoolType pool, std::size_t size) noexcept override
    {
        record("config setMemoryPoolLimit %d %zu", static_cast<int>(pool), size);
    }
    void setProgressMonitor(IProgressMonitor* given) noexcept override
    {
        record("config setProgressMonitor %s", given ? text(*given).c_str() : "none");
        monitor = given;
    }
#ifdef FAKE_RTX
    bool setNbComputeCapabilities(int32_t number) noexcept override
    {
        record("config setNbComputeCapabilities %d", number);
        return true;
    }
    bool setComputeCapability(ComputeCapability capability, int32_t index) noexcept override
    {
        record("config setComputeCapability %d %d", static_cast<int>(capability), index);
        return static_cast<int>(capability) < 200;
    }
#endif
    int32_t profiles{0};
    IProgressMonitor* monitor{nullptr};
};

struct FakeBuilder : StubBuilder
{
    explicit FakeBuilder(ILogger& logger)
        : logger(logger)
    {
    }
    IBuilderConfig* createBuilderConfig() noexcept override
    {
        return new Object<IBuilderConfig, FakeConfig>("IBuilderConfig");
    }
    INetworkDefinition* createNetworkV2(NetworkDefinitionCreationFlags flags) noexcept override
    {
        record("builder createNetworkV2 %u", flags);
        return new Object<INetworkDefinition, FakeNetwork>("INetworkDefinition");
    }
    IOptimizationProfile* createOptimizationProfile() noexcept override
    {
        profiles.push_back(std::make_unique<Object<IOptimizationProfile, FakeProfile>>("IOptimizationProfile"));
        return profiles.back().get();
    }
    // Three steps, as far as the monitor lets it.
    IHostMemory* buildSerializedNetwork(INetworkDefinition& network, IBuilderConfig& config) noexcept override
    {
        auto& settings = static_cast<Object<IBuilderConfig, FakeConfig>&>(config).implementation;
        record("builder buildSerializedNetwork %s", network.getOutput(0)->getName());
        logger.log(ILogger::Severity::kWARNING, "a warning of the builder");
        bool on = true;
        if (settings.monitor)
        {
            settings.monitor->phaseStart("outer", nullptr, 3);
            settings.monitor->phaseStart("inner", "outer", 1);
            for (int step = 0; on && step < 3; ++step)
                on = settings.monitor->stepComplete("outer", step);
            settings.monitor->phaseFinish("inner");
            settings.monitor->phaseFinish("outer");
        }
        if (on && settings.profiles == 0)
        {
            on = false;
            logger.log(ILogger::Severity::kERROR, "no profile");
        }
        return on ? hostMemory("FAKEPLAN" + std::string(72, '.')) : nullptr;
    }
    bool setMaxThreads(int32_t threads) noexcept override
    {
        record("builder setMaxThreads %d", threads);
        return threads > 0;
    }
    ILogger& logger;
    std::vector<std::unique_ptr<Object<IOptimizationProfile, FakeProfile>>> profiles;
};

#ifdef FAKE_RTX
struct FakeRuntimeCache : StubRuntimeCache
{
    IHostMemory* serialize() const noexcept override
    {
        return hostMemory(bytes);
    }
    bool deserialize(void const* blob, size_t size) noexcept override
    {
        bytes.assign(static_cast<char const*>(blob), size);
        record("runtime cache deserialize %s", bytes.c_str());
        return bytes != "bad";
    }
    std::string bytes{"empty"};
};
#endif

#if HAS_RUNTIME_CONFIG
struct FakeRuntimeConfig : StubRuntimeConfig
{
#ifdef FAKE_RTX
    IRuntimeCache* createRuntimeCache() const noexcept override
    {
        return new Object<IRuntimeCache, FakeRuntimeCache>("IRuntimeCache");
    }
    bool setRuntimeCache(IRuntimeCache const& cache) noexcept override
    {
        std::unique_ptr<IHostMemory> bytes(cache.serialize());
        record("runtime config setRuntimeCache %zu", bytes->size());
        return true;
    }
    bool setCudaGraphStrategy(CudaGraphStrategy strategy) noexcept override
    {
        record("runtime config setCudaGraphStrategy %d", static_cast<int>(strategy));
        return true;
    }
#endif
};
#endif

struct FakeContext : StubExecutionContext
{
    bool setInputShape(char const* name, Dims const& dims) noexcept override
    {
        record("context setInputShape %s %s", name, text(dims).c_str());
        batch = dims.d[0];
        return batch <= 16;
    }
    Dims getTensorShape(char const* name) const noexcept override
    {
        if (!strcmp(name, "x"))
            return shape({batch, 8});
        return strcmp(name, "y") ? Dims{-1, {}} : shape({batch, 4});
    }
    bool setTensorAddress(char const* name, void* data) noexcept override
    {
        record("context setTensorAddress %s %p", name, data);
        return data != reinterpret_cast<void*>(0xbad00);
    }
    bool enqueueV3(cudaStream_t stream) noexcept override
    {
        record("context enqueueV3 %p", static_cast<void*>(stream));
        return batch != 13;
    }
    int64_t batch{-1};
};

struct FakeEngine : StubCudaEngine
{
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept override
    {
        record("engine createExecutionContext %d", static_cast<int>(strategy));
        return new Object<IExecutionContext, FakeContext>("IExecutionContext");
    }
#if HAS_RUNTIME_CONFIG
    IExecutionContext* createExecutionContextWithRuntimeConfig(IRuntimeConfig* config) noexcept override
    {
        record("engine createExecutionContextWithRuntimeConfig %d", config != nullptr);
        return new Object<IExecutionContext, FakeContext>("IExecutionContext");
    }
    IRuntimeConfig* createRuntimeConfig() noexcept override
    {
        return new Object<IRuntimeConfig, FakeRuntimeConfig>("IRuntimeConfig");
    }
#endif
    Dims getTensorShape(char const* name) const noexcept override
    {
        return strcmp(name, "x") ? shape({-1, 4}) : shape({-1, 8});
    }
    DataType getTensorDataType(char const* name) const noexcept override
    {
        return strcmp(name, "x") ? DataType::kHALF : DataType::kFLOAT;
    }
    TensorLocation getTensorLocation(char const*) const noexcept override
    {
        return TensorLocation::kDEVICE;
    }
    TensorIOMode getTensorIOMode(char const* name) const noexcept override
    {
        return strcmp(name, "x") ? TensorIOMode::kOUTPUT : TensorIOMode::kINPUT;
    }
    TensorFormat getTensorFormat(char const*) const noexcept override
    {
        return TensorFormat::kLINEAR;
    }
    Dims getProfileShape(char const* name, int32_t profile, OptProfileSelector select) const noexcept override
    {
        if (strcmp(name, "x") || profile > 1)
            return Dims{-1, {}};
        return shape({1 + 10 * profile + static_cast<int>(select), 8});
    }
    int32_t getNbIOTensors() const noexcept override
    {
        return 2;
    }
    char const* getIOTensorName(int32_t index) const noexcept override
    {
        return index == 0 ? "x" : "y";
    }
#if SINCE_10(1)
    int64_t getDeviceMemorySizeV2() const noexcept override
#else
    size_t getDeviceMemorySize() const noexcept override
#endif
    {
        return 5'000'000'000;
    }
};

struct FakeRuntime : StubRuntime
{
    explicit FakeRuntime(ILogger& logger)
        : logger(logger)
    {
    }
    ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override
    {
        record("runtime deserializeCudaEngine %zu", size);
        if (size >= 8 && !memcmp(blob, "FAKEPLAN", 8))
            return new Object<ICudaEngine, FakeEngine>("ICudaEngine");
        logger.log(ILogger::Severity::kERROR, "not a plan of mine");
        return nullptr;
    }
#ifdef FAKE_RTX
    int64_t getEngineHeaderSize() const noexcept override
    {
        return 64;
    }
    EngineValidity getEngineValidity(void const* blob, int64_t size, uint64_t* diagnostics) const noexcept override
    {
        record("runtime getEngineValidity %lld", static_cast<long long>(size));
        bool const old = !memcmp(blob, "OLDPLAN.", 8);
        *diagnostics = old ? static_cast<uint64_t>(EngineInvalidityDiagnostics::kVERSION_MISMATCH) : 0;
        return old ? EngineValidity::kINVALID : EngineValidity::kVALID;
    }
#endif
    ILogger& logger;
};

#ifndef FAKE_PARSER
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
EXPORT void* createInferBuilder_INTERNAL(void* logger, int32_t) noexcept
{
    auto& given = *static_cast<ILogger*>(logger);
    record("createInferBuilder %s", text(given).c_str());
    return new Object<IBuilder, FakeBuilder>("IBuilder", given);
}
EXPORT void* createInferRuntime_INTERNAL(void* logger, int32_t) noexcept
{
    return new Object<IRuntime, FakeRuntime>("IRuntime", *static_cast<ILogger*>(logger));
}
#else
struct FakeParserError : StubParserError
{
    nvonnxparser::ErrorCode code() const override
    {
        return nvonnxparser::ErrorCode::kUNSUPPORTED_NODE;
    }
    char const* desc() const override
    {
        return "no importer";
    }
    char const* file() const override
    {
        return "fake.cpp";
    }
    int line() const override
    {
        return 42;
    }
    char const* func() const override
    {
        return "parse";
    }
    int node() const override
    {
        return 5;
    }
    char const* nodeName() const override
    {
        return "gaze";
    }
    char const* nodeOperator() const override
    {
        return nullptr;
    }
};

struct FakeParser : StubParser
{
    explicit FakeParser(INetworkDefinition& network)
        : network(network)
    {
    }
    ~FakeParser() noexcept override
    {
        // The network must still be there.
        record("~IParser of %s", network.getOutput(0)->getName());
    }
    bool parse(void const* model, size_t size, char const* path) noexcept override
    {
        record("parser parse %.*s %s", static_cast<int>(size), static_cast<char const*>(model), path ? path : "(none)");
        errors = size == 3 ? 2 : 0;
        return errors == 0;
    }
    int getNbErrors() const noexcept override
    {
        return errors;
    }
    nvonnxparser::IParserError const* getError(int) const noexcept override
    {
        return &error;
    }
#if SINCE_10(13)
    bool loadModelProto(void const*, size_t size, char const* path) noexcept override
    {
        record("parser loadModelProto %zu %s", size, path ? path : "(none)");
        return true;
    }
    bool loadInitializer(char const* name, void const* data, size_t size) noexcept override
    {
        record("parser loadInitializer %s %.*s", name, static_cast<int>(size), static_cast<char const*>(data));
        return strcmp(name, "unknown") != 0;
    }
    bool parseModelProto() noexcept override
    {
        record("parser parseModelProto");
        return true;
    }
#endif
    INetworkDefinition& network;
    FakeParserError error;
    int errors{0};
};

EXPORT int getNvOnnxParserVersion() PARSER_NOEXCEPT
{
    return 200;
}
EXPORT void* createNvOnnxParser_INTERNAL(void* network, void* logger, int version) PARSER_NOEXCEPT
{
    record("createNvOnnxParser %s %d", text(*static_cast<ILogger*>(logger)).c_str(), version);
    // As the real one does it: the pointer is to the interface.
    return static_cast<nvonnxparser::IParser*>(new FakeParser(*static_cast<INetworkDefinition*>(network)));
}
#endif
