// A CUDA driver whose card is the host: what libbert calls of libcuda, over NVIDIA's own header, so that a signature that
// isn't the driver's doesn't compile. Memory is the host's; a launch runs at once, block after block; streams are empty.
//
// The environment sets what a test wants to meet:
//   BERT_EMULATED_MEMORY   bytes of device memory (1 GiB)
//   BERT_EMULATED_DRIVER   the driver's version (13000)
//   BERT_EMULATED_DEVICES  how many there are (1)

#include <cuda.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "emulation.h"

// ---- Threads of a block ----------------------------------------------------------------------------------------------

namespace emulation {

dim3 thread, block, block_size, grid_size;
float *shared;
float given[2][1024];
unsigned many_given[2][1024][6];
unsigned char parity[1024];

static std::map<std::string, Function> &functions()
{
    static auto &all = *new std::map<std::string, Function>;
    return all;
}

Registered::Registered(const char *name, Function function) { functions()[name] = function; }

[[noreturn]] static void fail(const char *what)
{
    std::fprintf(stderr, "emulated card: %s\n", what);
    std::abort();
}

} // namespace emulation

#if defined(__x86_64__)
// Saves what a call must keep on the present stack, goes on on another.
extern "C" void emulation_switch(void **from, void *to);
asm(R"(
.text
.hidden emulation_switch
.globl emulation_switch
.type emulation_switch,@function
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
#else
#error The emulated card is for x86-64.
#endif

namespace emulation {

constexpr size_t STACK = 32 * 1024;

struct Context {
    void *stack_pointer;
    std::vector<char> stack;
    Meets meets;
};

// Whatever a thread may still use while the process ends is never destroyed.
static auto &contexts = *new std::vector<Context>;
static void *scheduler;
static unsigned running;
static Function running_function;
static void **running_arguments;

void meet(Meets what)
{
    Context &here = contexts[running];
    here.meets = what;
    emulation_switch(&here.stack_pointer, scheduler);
}

static void begin()
{
    running_function(running_arguments);
    meet(Meets::end);
    fail("a thread went on after its end");
}

static void prepare(Context &context)
{
    if (context.stack.empty())
        context.stack.resize(STACK);
    uintptr_t top = (uintptr_t)(context.stack.data() + STACK) & ~(uintptr_t)15;
    // At a function's entry the stack is 8 short of a multiple of 16.
    void **stack = (void **)(top - 8);
    *--stack = (void *)begin;
    for (int saved = 0; saved < 6; saved++)
        *--stack = nullptr;
    context.stack_pointer = stack;
    context.meets = Meets::nothing;
}

static void resume(unsigned number)
{
    running = number;
    thread = {number, 0, 0};
    emulation_switch(&scheduler, contexts[number].stack_pointer);
}

// Runs a warp until all its threads are at a block's meeting or at their end.
static void run_warp(unsigned first, unsigned last)
{
    for (;;) {
        unsigned at_warp = 0, elsewhere = 0;
        for (unsigned number = first; number < last; number++) {
            if (contexts[number].meets == Meets::nothing)
                resume(number);
            (contexts[number].meets == Meets::warp ? at_warp : elsewhere)++;
        }
        if (at_warp == 0)
            return;
        if (elsewhere != 0)
            fail("threads of a warp meet at different places");
        for (unsigned number = first; number < last; number++)
            contexts[number].meets = Meets::nothing;
    }
}

static void run_block(unsigned threads)
{
    for (unsigned number = 0; number < threads; number++)
        prepare(contexts[number]);
    for (;;) {
        unsigned at_block = 0, at_end = 0;
        for (unsigned first = 0; first < threads; first += 32) {
            unsigned last = first + 32 < threads ? first + 32 : threads;
            run_warp(first, last);
            for (unsigned number = first; number < last; number++)
                (contexts[number].meets == Meets::block ? at_block : at_end)++;
        }
        if (at_block == 0)
            return;
        if (at_end != 0)
            fail("some threads of a block are at their end while others wait for them");
        for (unsigned number = 0; number < threads; number++)
            contexts[number].meets = Meets::nothing;
    }
}

static void launch(Function function, dim3 grid, unsigned threads, size_t shared_bytes, void **arguments)
{
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (contexts.size() < threads)
        contexts.resize(threads);
    static auto &shared_memory = *new std::vector<float>(48 * 1024 / sizeof(float));
    shared = shared_memory.data();
    if (shared_bytes > shared_memory.size() * sizeof(float))
        fail("more shared memory than a block may ask for without an attribute");
    running_function = function;
    running_arguments = arguments;
    block_size = {threads, 1, 1};
    grid_size = grid;
    for (unsigned y = 0; y < grid.y; y++)
        for (unsigned x = 0; x < grid.x; x++) {
            block = {x, y, 0};
            // What isn't written before it is read shows.
            std::fill_n(shared, shared_bytes / sizeof(float), NAN);
            run_block(threads);
        }
}

// ---- Memory ----------------------------------------------------------------------------------------------------------

static std::mutex memory_lock;
static auto &allocations = *new std::map<CUdeviceptr, size_t>;
static size_t used;

static size_t setting(const char *name, size_t otherwise)
{
    const char *text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

static size_t total() { return setting("BERT_EMULATED_MEMORY", (size_t)1 << 30); }

// A copy that leaves its memory ends the program, as memcheck would tell of it.
static void check_range(CUdeviceptr start, size_t bytes)
{
    std::lock_guard<std::mutex> lock(memory_lock);
    auto after = allocations.upper_bound(start);
    if (after == allocations.begin())
        fail("a copy to or from no device memory");
    --after;
    if (start + bytes > after->first + after->second)
        fail("a copy past the end of its device memory");
}

// Page-locked memory, by its start.
static auto &page_locked = *new std::map<uintptr_t, size_t>;

// A copy into page-locked memory arrives when somebody waits for it, and until then there is what no number is.
struct Arrival {
    void *to;
    std::vector<char> bytes;
};

static auto &arrivals = *new std::vector<Arrival>;

struct Event {
    // Copies begun before it, of all that were begun.
    size_t arrivals = 0;
    // Whether it was asked for since it was recorded: as on a card, it isn't done at once.
    bool was_asked = true;
};

// Copies that have arrived, of all that were begun.
static size_t arrived;
// How often the host waited for all of the stream, and for an event.
static unsigned stream_waits, event_waits;

// Lets the copies before number `last` arrive.
static void arrive(size_t last)
{
    for (; arrived < last; arrived++) {
        Arrival &arrival = arrivals[arrived];
        std::memcpy(arrival.to, arrival.bytes.data(), arrival.bytes.size());
        arrival.bytes = {};
    }
}

static thread_local std::vector<CUcontext> stack_of_contexts;

// How many contexts are entered, by all threads: calls that are under way.
static std::atomic<int> entered;
// The driver works in the process that started it, until it goes away at exit; a call that is under way then, or comes
// later, is a card's segmentation fault.
static pid_t owner;
static std::atomic<bool> has_gone;

static void goes_away()
{
    has_gone = true;
    if (getpid() == owner && entered != 0)
        fail("a call is under way while the driver goes away");
}

// Starts the driver: a thread of its own, and a function for the end of the process.
static void start()
{
    owner = getpid();
    std::thread([] {
        for (;;)
            pause();
    }).detach();
    std::atexit(goes_away);
}

static bool has_context() { return !stack_of_contexts.empty() && stack_of_contexts.back() != nullptr; }

} // namespace emulation

using namespace emulation;

static CUcontext the_context(CUdevice device) { return (CUcontext)(uintptr_t)(0x1000 + device); }

#define NEEDS_CONTEXT                                                                                                    \
    if (!has_context())                                                                                                  \
        return CUDA_ERROR_INVALID_CONTEXT;

extern "C" {

CUresult CUDAAPI cuInit(unsigned)
{
    static std::once_flag started;
    std::call_once(started, start);
    return setting("BERT_EMULATED_DEVICES", 1) == 0 ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}

CUresult CUDAAPI cuDriverGetVersion(int *version)
{
    *version = (int)setting("BERT_EMULATED_DRIVER", 13000);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetCount(int *count)
{
    *count = (int)setting("BERT_EMULATED_DEVICES", 1);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal)
{
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    *context = the_context(device);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPushCurrent(CUcontext context)
{
    if (getpid() != owner)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (has_gone)
        fail("a call comes after the driver has gone away");
    entered++;
    stack_of_contexts.push_back(context);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPopCurrent(CUcontext *context)
{
    if (stack_of_contexts.empty())
        return CUDA_ERROR_INVALID_CONTEXT;
    if (context != nullptr)
        *context = stack_of_contexts.back();
    stack_of_contexts.pop_back();
    entered--;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamCreate(CUstream *stream, unsigned)
{
    NEEDS_CONTEXT
    *stream = (CUstream)(uintptr_t)0x2000;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamSynchronize(CUstream)
{
    NEEDS_CONTEXT
    std::lock_guard<std::mutex> lock(memory_lock);
    stream_waits++;
    arrive(arrivals.size());
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventCreate(CUevent *event, unsigned)
{
    NEEDS_CONTEXT
    *event = (CUevent) new Event;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventRecord(CUevent event, CUstream)
{
    NEEDS_CONTEXT
    std::lock_guard<std::mutex> lock(memory_lock);
    *(Event *)event = {arrivals.size(), false};
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventQuery(CUevent event)
{
    NEEDS_CONTEXT
    std::lock_guard<std::mutex> lock(memory_lock);
    Event &asked = *(Event *)event;
    if (!std::exchange(asked.was_asked, true))
        return CUDA_ERROR_NOT_READY;
    arrive(asked.arrivals);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventSynchronize(CUevent event)
{
    NEEDS_CONTEXT
    std::lock_guard<std::mutex> lock(memory_lock);
    Event &waited = *(Event *)event;
    waited.was_asked = true;
    event_waits++;
    arrive(waited.arrivals);
    return CUDA_SUCCESS;
}

// For the tests: how often the host waited for the card.
unsigned emulated_stream_waits() { return stream_waits; }
unsigned emulated_event_waits() { return event_waits; }

CUresult CUDAAPI cuMemAllocHost(void **pointer, size_t bytes)
{
    NEEDS_CONTEXT
    std::lock_guard<std::mutex> lock(memory_lock);
    *pointer = std::malloc(bytes);
    if (*pointer == nullptr)
        return CUDA_ERROR_OUT_OF_MEMORY;
    std::memset(*pointer, 0xff, bytes);
    page_locked[(uintptr_t)*pointer] = bytes;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    NEEDS_CONTEXT
    std::lock_guard<std::mutex> lock(memory_lock);
    *total_bytes = total();
    *free_bytes = used < total() ? total() - used : 0;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAlloc(CUdeviceptr *pointer, size_t bytes)
{
    NEEDS_CONTEXT
    std::lock_guard<std::mutex> lock(memory_lock);
    if (used + bytes > total())
        return CUDA_ERROR_OUT_OF_MEMORY;
    void *memory = std::malloc(bytes);
    if (memory == nullptr)
        return CUDA_ERROR_OUT_OF_MEMORY;
    // NaN in both types: what isn't written before it is read shows.
    std::memset(memory, 0xff, bytes);
    *pointer = (CUdeviceptr)memory;
    allocations[*pointer] = bytes;
    used += bytes;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemFree(CUdeviceptr pointer)
{
    NEEDS_CONTEXT
    std::lock_guard<std::mutex> lock(memory_lock);
    auto found = allocations.find(pointer);
    if (found == allocations.end())
        return CUDA_ERROR_INVALID_VALUE;
    used -= found->second;
    allocations.erase(found);
    std::free((void *)pointer);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr pointer, unsigned char value, size_t bytes, CUstream)
{
    NEEDS_CONTEXT
    check_range(pointer, bytes);
    std::memset((void *)pointer, value, bytes);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream)
{
    NEEDS_CONTEXT
    check_range(to, bytes);
    std::memcpy((void *)to, from, bytes);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream)
{
    NEEDS_CONTEXT
    check_range(from, bytes);
    std::lock_guard<std::mutex> lock(memory_lock);
    auto after = page_locked.upper_bound((uintptr_t)to);
    if (after != page_locked.begin() && (uintptr_t)to < std::prev(after)->first + std::prev(after)->second) {
        const char *content = (const char *)from;
        arrivals.push_back({to, std::vector<char>(content, content + bytes)});
        std::memset(to, 0xff, bytes);
    } else {
        std::memcpy(to, (const void *)from, bytes);
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream)
{
    NEEDS_CONTEXT
    check_range(from, bytes);
    check_range(to, bytes);
    std::memcpy((void *)to, (const void *)from, bytes);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleLoadData(CUmodule *module, const void *image)
{
    NEEDS_CONTEXT
    // A fat binary's magic number: the library was built with kernels for a card.
    uint32_t magic;
    std::memcpy(&magic, image, sizeof(magic));
    if (magic != 0xba55ed50)
        return CUDA_ERROR_INVALID_IMAGE;
    *module = (CUmodule)(uintptr_t)0x3000;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleGetFunction(CUfunction *function, CUmodule, const char *name)
{
    NEEDS_CONTEXT
    auto found = functions().find(name);
    if (found == functions().end())
        return CUDA_ERROR_NOT_FOUND;
    *function = (CUfunction)found->second;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                                unsigned threads_z, unsigned shared_bytes, CUstream, void **arguments, void **)
{
    NEEDS_CONTEXT
    if (x == 0 || y == 0 || y > 65535 || z != 1 || threads == 0 || threads > 1024 || threads_y != 1 || threads_z != 1)
        return CUDA_ERROR_INVALID_VALUE;
    launch((Function)function, {x, y, z}, threads, shared_bytes, arguments);
    return CUDA_SUCCESS;
}

} // extern "C"
