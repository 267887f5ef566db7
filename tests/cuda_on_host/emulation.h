// CUDA C++ for the host's compiler, as far as the kernels use it: the same source computes the same, one block after
// another, on a machine without a GPU.
//
// A block's threads are contexts of their own that run in turn until they meet: all of a warp where values go between
// lanes, all of a block at __syncthreads(). Threads that meet at different places, which a card would hang on or answer
// with nonsense, end the program with a line that says so.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>

#include "sixteen_bits.h"

using std::isfinite;
using std::isnan;

struct dim3 {
    unsigned x, y, z;
};

namespace emulation {

// Why a thread isn't running.
enum class Meets : unsigned char { nothing, warp, block, end };

// The running thread's place.
extern dim3 thread, block, block_size, grid_size;
// The dynamic shared memory of the running block.
extern float *shared;
// Each thread's last value for others, of even and odd meetings.
extern float given[2][1024];
extern unsigned char parity[1024];

// Lets the other threads run until all of the warp or the block are here.
void meet(Meets what);

// Gives `value` to the warp and returns where the lanes' values stand.
inline const float *exchange(float value)
{
    unsigned number = thread.x;
    unsigned char side = parity[number] ^= 1;
    given[side][number] = value;
    meet(Meets::warp);
    return &given[side][number / 32 * 32];
}

using Function = void (*)(void **);

// What cuModuleGetFunction finds.
struct Registered {
    Registered(const char *name, Function function);
};

template <auto kernel> struct Call;
template <typename... Arguments, void (*kernel)(Arguments...)> struct Call<kernel> {
    static void with(void **arguments) { with(arguments, std::index_sequence_for<Arguments...>()); }
    template <size_t... places> static void with(void **arguments, std::index_sequence<places...>)
    {
        // Copied byte by byte, as a launch does.
        std::tuple<Arguments...> copies;
        (std::memcpy(&std::get<places>(copies), arguments[places], sizeof(Arguments)), ...);
        kernel(std::get<places>(copies)...);
    }
};

} // namespace emulation

#define __global__
#define __device__
#define __shared__ static
#define threadIdx emulation::thread
#define blockIdx emulation::block
#define blockDim emulation::block_size
#define gridDim emulation::grid_size
#define KERNEL(name) static void name
#define DECLARED(name) static emulation::Registered JOIN(registered_, name)(NAME_OF(name), emulation::Call<name>::with);
#define NAME_OF(name) NAME_OF_EXPANDED(name)
#define NAME_OF_EXPANDED(name) #name
#define DYNAMIC_SHARED(name) float *name = emulation::shared

inline void __syncthreads() { emulation::meet(emulation::Meets::block); }
inline void __syncwarp() { emulation::meet(emulation::Meets::warp); }

template <class T> T min(T a, T b) { return b < a ? b : a; }

// The same tree as the card's: every lane comes to the same number.
inline float warp_sum(float x)
{
    const float *lanes = emulation::exchange(x);
    float sums[32];
    std::memcpy(sums, lanes, sizeof(sums));
    for (int offset = 16; offset > 0; offset /= 2)
        for (int lane = 0; lane < offset; lane++)
            sums[lane] += sums[lane + offset];
    return sums[0];
}

inline float warp_highest(float x)
{
    const float *lanes = emulation::exchange(x);
    float highest = lanes[0];
    for (int lane = 1; lane < 32; lane++)
        highest = lanes[lane] > highest || isnan(lanes[lane]) ? lanes[lane] : highest;
    return highest;
}

inline float from_lane(float x, int lane) { return emulation::exchange(x)[lane]; }
