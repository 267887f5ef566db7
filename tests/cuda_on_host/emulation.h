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

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

namespace emulation {

// Why a thread isn't running.
enum class Meets : unsigned char { nothing, warp, block, end };

// The running thread's place.
extern dim3 thread, block, block_size, grid_size;
// The dynamic shared memory of the running block.
extern float *shared;
// Each thread's last value for others, of even and odd meetings; and what it gives at once where that is more.
extern float given[2][1024];
extern unsigned many_given[2][1024][6];
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

// The same with several words.
template <int count> const unsigned (*exchange(const unsigned (&words)[count]))[6]
{
    static_assert(count <= 6);
    unsigned number = thread.x;
    unsigned char side = parity[number] ^= 1;
    std::memcpy(many_given[side][number], words, sizeof(words));
    meet(Meets::warp);
    return &many_given[side][number / 32 * 32];
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
// Thread 0 is the first of a block to run: what isn't written before it is read shows.
#define SHARED_ARRAY(type, name, count)                                                                                  \
    alignas(16) static type name[count];                                                                                 \
    if (threadIdx.x == 0)                                                                                                \
    std::memset(name, 0xff, sizeof(name))

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

inline unsigned bits_from_lane(unsigned x, int lane)
{
    const unsigned words[1] = {x};
    return emulation::exchange(words)[lane][0];
}

inline float sum_of_four(float x)
{
    const float *lanes = emulation::exchange(x) + threadIdx.x % 32 / 4 * 4;
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

inline float highest_of_four(float x)
{
    const float *lanes = emulation::exchange(x) + threadIdx.x % 32 / 4 * 4;
    for (int lane = 0; lane < 4; lane++)
        x = lanes[lane] > x ? lanes[lane] : x;
    return x;
}

inline float power_of_two(float x) { return std::exp2(x); }

template <class T> unsigned two_rounded(float first, float second)
{
    T numbers[2];
    store(&numbers[0], first);
    store(&numbers[1], second);
    return numbers[0].bits | (unsigned)numbers[1].bits << 16;
}

// One of the two numbers of a word.
template <class T> float number_of(unsigned word, int place)
{
    T number;
    number.bits = (uint16_t)(word >> 16 * place);
    return to_float(number);
}

// A warp's product of 16 x 16 by 16 x 8 numbers, as common.cuh describes it.
template <class T>
void multiply_add(float (&out)[4], const unsigned (&left)[4], unsigned right0, unsigned right1)
{
    const unsigned words[6] = {left[0], left[1], left[2], left[3], right0, right1};
    const unsigned(*lanes)[6] = emulation::exchange(words);
    const int lane = threadIdx.x % 32;
    for (int place = 0; place < 4; place++) {
        const int row = lane / 4 + 8 * (place / 2), column = 2 * (lane % 4) + place % 2;
        float sum = 0.0f;
        for (int inner = 0; inner < 16; inner++) {
            const unsigned a = lanes[row % 8 * 4 + inner % 8 / 2][row / 8 + 2 * (inner / 8)];
            const unsigned b = lanes[column * 4 + inner % 8 / 2][4 + inner / 8];
            sum += number_of<T>(a, inner % 2) * number_of<T>(b, inner % 2);
        }
        out[place] += sum;
    }
}

template <class T> void load_transposed(unsigned (&out)[4], const T *row)
{
    const uint64_t address = reinterpret_cast<uint64_t>(row);
    const unsigned words[2] = {(unsigned)address, (unsigned)(address >> 32)};
    const unsigned(*lanes)[6] = emulation::exchange(words);
    const int column = threadIdx.x % 32 / 4, pair = 2 * (threadIdx.x % 4);
    for (int matrix = 0; matrix < 4; matrix++) {
        out[matrix] = 0;
        for (int place = 0; place < 2; place++) {
            const unsigned *from = lanes[8 * matrix + pair + place];
            const T *there = reinterpret_cast<const T *>(from[0] | (uint64_t)from[1] << 32);
            out[matrix] |= (unsigned)there[column].bits << 16 * place;
        }
    }
}
