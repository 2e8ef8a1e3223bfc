// A TensorRT that does nothing but write down how it was called. Compiled by tests/fake.rs against NVIDIA's own headers, so
// that a C++ compiler, not a list of ours, decides where each method lies. stubs.h is made from the same headers: classes
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

// A method was called that the binding does not use: the place was wrong.
[[noreturn]] static void unexpected(char const* method)
{
    fprintf(stderr, "unexpected call of %s\n", method);
    _Exit(3);
}

#include "stubs.h"

using namespace nvinfer1;

// Gives the book and begins a new one.
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
    int32_t getNbLayers() const noexcept override
    {
        return 7;
    }
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
    bool combine(ITimingCache const&, bool ignore) noexcept override
    {
        record("cache combine %d", ignore);
        return true;
    }
    std::string bytes;
};

struct FakeConfig : StubBuilderConfig
{
    void clearFlag(BuilderFlag flag) noexcept override
    {
        record("config clearFlag %d", static_cast<int>(flag));
        flags &= ~(1u << static_cast<int>(flag));
    }
    void setFlag(BuilderFlag flag) noexcept override
    {
        flags |= 1u << static_cast<int>(flag);
    }
    bool getFlag(BuilderFlag flag) const noexcept override
    {
        return flags >> static_cast<int>(flag) & 1;
    }
    int32_t addOptimizationProfile(IOptimizationProfile const* profile) noexcept override
    {
        record("config addOptimizationProfile valid=%d", profile->isValid());
        return profiles++;
    }
    void setProfilingVerbosity(ProfilingVerbosity verbosity) noexcept override
    {
        record("config setProfilingVerbosity %d", static_cast<int>(verbosity));
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
        limit = size;
        record("config setMemoryPoolLimit %d %zu", static_cast<int>(pool), size);
    }
    std::size_t getMemoryPoolLimit(MemoryPoolType pool) const noexcept override
    {
        return limit + static_cast<std::size_t>(pool);
    }
    void setBuilderOptimizationLevel(int32_t level) noexcept override
    {
        record("config setBuilderOptimizationLevel %d", level);
    }
    void setHardwareCompatibilityLevel(HardwareCompatibilityLevel level) noexcept override
    {
        record("config setHardwareCompatibilityLevel %d", static_cast<int>(level));
    }
    bool setMaxAuxStreams(int32_t streams) noexcept override
    {
        record("config setMaxAuxStreams %d", streams);
        return streams < 100;
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
    uint32_t flags{1u << static_cast<int>(BuilderFlag::kTF32)};
    int32_t profiles{0};
    std::size_t limit{0};
    IProgressMonitor* monitor{nullptr};
};

struct FakeBuilder : StubBuilder
{
    explicit FakeBuilder(ILogger& logger)
        : logger(logger)
    {
    }
    ~FakeBuilder() override
    {
        if (recorder)
            recorder->decRefCount();
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
    void setErrorRecorder(IErrorRecorder* given) noexcept override
    {
        recorder = given;
        auto const count = given->incRefCount();
        record("builder setErrorRecorder %s count=%d", text(*given).c_str(), count);
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
            if (recorder)
            {
                recorder->reportError(ErrorCode::kINVALID_CONFIG, "no profile");
                record("recorder %d %d %s %d", recorder->getNbErrors(), static_cast<int>(recorder->getErrorCode(0)),
                    recorder->getErrorDesc(0), recorder->hasOverflowed());
            }
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
    IErrorRecorder* recorder{nullptr};
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

struct FakeRuntimeConfig : StubRuntimeConfig
{
    void setExecutionContextAllocationStrategy(ExecutionContextAllocationStrategy strategy) noexcept override
    {
        record("runtime config setExecutionContextAllocationStrategy %d", static_cast<int>(strategy));
    }
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
    void setDynamicShapesKernelSpecializationStrategy(
        DynamicShapesKernelSpecializationStrategy strategy) noexcept override
    {
        record("runtime config setDynamicShapesKernelSpecializationStrategy %d", static_cast<int>(strategy));
    }
    bool setCudaGraphStrategy(CudaGraphStrategy strategy) noexcept override
    {
        record("runtime config setCudaGraphStrategy %d", static_cast<int>(strategy));
        return true;
    }
#endif
};

struct FakeContext : StubExecutionContext
{
    ~FakeContext() override
    {
        if (recorder)
            recorder->decRefCount();
    }
    int32_t getOptimizationProfile() const noexcept override
    {
        return profile;
    }
    void setErrorRecorder(IErrorRecorder* given) noexcept override
    {
        recorder = given;
        recorder->incRefCount();
        record("context setErrorRecorder");
    }
    bool setOptimizationProfileAsync(int32_t index, cudaStream_t stream) noexcept override
    {
        record("context setOptimizationProfileAsync %d %p", index, static_cast<void*>(stream));
        profile = index;
        batch = -1;
        return index < 2;
    }
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
    int32_t inferShapes(int32_t number, char const** names) noexcept override
    {
        record("context inferShapes %d %d", number, names != nullptr);
        return batch < 0 ? 1 : 0;
    }
    bool setInputConsumedEvent(cudaEvent_t event) noexcept override
    {
        record("context setInputConsumedEvent %p", static_cast<void*>(event));
        return true;
    }
    bool enqueueV3(cudaStream_t stream) noexcept override
    {
        record("context enqueueV3 %p", static_cast<void*>(stream));
        return batch != 13;
    }
    void setAuxStreams(cudaStream_t* streams, int32_t number) noexcept override
    {
        record("context setAuxStreams %d %p %p", number, static_cast<void*>(streams[0]), static_cast<void*>(streams[1]));
    }
    void setDeviceMemoryV2(void* memory, int64_t size) noexcept override
    {
        record("context setDeviceMemoryV2 %p %lld", memory, static_cast<long long>(size));
    }
#ifdef FAKE_RTX
    bool isStreamCapturable(cudaStream_t stream) const noexcept override
    {
        record("context isStreamCapturable %p", static_cast<void*>(stream));
        return true;
    }
#endif
    int32_t profile{0};
    int64_t batch{-1};
    IErrorRecorder* recorder{nullptr};
};

struct FakeInspector : StubEngineInspector
{
    char const* getLayerInformation(int32_t layer, LayerInformationFormat format) const noexcept override
    {
        answer = "layer " + std::to_string(layer) + " " + std::to_string(static_cast<int>(format));
        return answer.c_str();
    }
    char const* getEngineInformation(LayerInformationFormat format) const noexcept override
    {
        answer = "engine " + std::to_string(static_cast<int>(format));
        return answer.c_str();
    }
    mutable std::string answer;
};

struct FakeEngine : StubCudaEngine
{
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept override
    {
        record("engine createExecutionContext %d", static_cast<int>(strategy));
        return new Object<IExecutionContext, FakeContext>("IExecutionContext");
    }
    IExecutionContext* createExecutionContextWithRuntimeConfig(IRuntimeConfig* config) noexcept override
    {
        record("engine createExecutionContextWithRuntimeConfig %d", config != nullptr);
        return new Object<IExecutionContext, FakeContext>("IExecutionContext");
    }
    IRuntimeConfig* createRuntimeConfig() noexcept override
    {
        return new Object<IRuntimeConfig, FakeRuntimeConfig>("IRuntimeConfig");
    }
    char const* getName() const noexcept override
    {
        return "fake engine";
    }
    int32_t getNbOptimizationProfiles() const noexcept override
    {
        return 2;
    }
    IEngineInspector* createEngineInspector() const noexcept override
    {
        return new Object<IEngineInspector, FakeInspector>("IEngineInspector");
    }
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
    int32_t getNbAuxStreams() const noexcept override
    {
        return 3;
    }
    int64_t getDeviceMemorySizeV2() const noexcept override
    {
        return 5'000'000'000;
    }
    int64_t getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept override
    {
        return 4'000'000'000 + profile;
    }
};

struct FakeRuntime : StubRuntime
{
    explicit FakeRuntime(ILogger& logger)
        : logger(logger)
    {
    }
    ~FakeRuntime() override
    {
        if (recorder)
            recorder->decRefCount();
    }
    ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override
    {
        record("runtime deserializeCudaEngine %zu", size);
        if (size >= 8 && !memcmp(blob, "FAKEPLAN", 8))
            return new Object<ICudaEngine, FakeEngine>("ICudaEngine");
        logger.log(ILogger::Severity::kERROR, "not a plan of mine");
        return nullptr;
    }
    void setErrorRecorder(IErrorRecorder* given) noexcept override
    {
        recorder = given;
        recorder->incRefCount();
        record("runtime setErrorRecorder");
    }
    bool setMaxThreads(int32_t threads) noexcept override
    {
        record("runtime setMaxThreads %d", threads);
        return true;
    }
    void setEngineHostCodeAllowed(bool allowed) noexcept override
    {
        record("runtime setEngineHostCodeAllowed %d", allowed);
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
    IErrorRecorder* recorder{nullptr};
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
    void clearErrors() noexcept override
    {
        errors = 0;
    }
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
    INetworkDefinition& network;
    FakeParserError error;
    int errors{0};
};

EXPORT int getNvOnnxParserVersion() noexcept
{
    return 200;
}
EXPORT void* createNvOnnxParser_INTERNAL(void* network, void* logger, int version) noexcept
{
    record("createNvOnnxParser %s %d", text(*static_cast<ILogger*>(logger)).c_str(), version);
    // As the real one does it: the pointer is to the interface.
    return static_cast<nvonnxparser::IParser*>(new FakeParser(*static_cast<INetworkDefinition*>(network)));
}
#endif
