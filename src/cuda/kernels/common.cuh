// What all kernels share. They are plain CUDA C++: nvcc compiles them for the card (build.rs), and the host's compiler
// for the tests, over tests/cuda_on_host/emulation.h.
//
// States are [tokens, width], row by row, of the type `real` (float; in mixed precision bfloat16, or in predictions
// float16); parameters, gradients and sums are float. No kernel adds to one number from several blocks: results don't
// depend on their order.

#pragma once

#ifdef BERT_CUDA_ON_HOST
#include "emulation.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
using bfloat16 = __nv_bfloat16;
using float16 = __half;
__device__ inline float to_float(bfloat16 x) { return __bfloat162float(x); }
__device__ inline void store(bfloat16 *out, float x) { *out = __float2bfloat16_rn(x); }
__device__ inline float to_float(float16 x) { return __half2float(x); }
__device__ inline void store(float16 *out, float x) { *out = __float2half_rn(x); }
__device__ inline float warp_sum(float x)
{
    for (int offset = 16; offset > 0; offset /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}
__device__ inline float warp_highest(float x)
{
    for (int offset = 16; offset > 0; offset /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, x, offset);
        // A NaN, once met, stays.
        x = other > x || isnan(other) ? other : x;
    }
    return x;
}
__device__ inline float from_lane(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
__device__ inline unsigned bits_from_lane(unsigned x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
// Over the four lanes of a warp that have one row of a product.
__device__ inline float sum_of_four(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
__device__ inline float highest_of_four(float x)
{
    for (int offset = 1; offset < 4; offset *= 2) {
        float other = __shfl_xor_sync(0xffffffffu, x, offset);
        x = other > x ? other : x;
    }
    return x;
}
// 2^x, to two units in the last place.
__device__ inline float power_of_two(float x)
{
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

// ---- The tensor cores: a warp's lanes together, with numbers of 16 bits two a word ----------------------------------

// Two numbers, rounded; the first in the lower half.
template <class T> __device__ inline unsigned two_rounded(float first, float second);
template <> __device__ inline unsigned two_rounded<bfloat16>(float first, float second)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(first, second);
    return *reinterpret_cast<unsigned *>(&both);
}
template <> __device__ inline unsigned two_rounded<float16>(float first, float second)
{
    __half2 both = __floats2half2_rn(first, second);
    return *reinterpret_cast<unsigned *>(&both);
}

// out += left · right, 16 x 16 by 16 x 8. With `group` a lane's number / 4 and `pair` twice the rest: out[0 and 1] are row
// `group`, columns `pair` and the next; out[2 and 3] those of row `group + 8`. left[0] is row `group`, columns `pair` and
// the next; left[1] that of row `group + 8`; left[2 and 3] the same 8 columns on. right0 is column `group`, rows `pair`
// and the next; right1 the same 8 rows on. (PTX ISA, "Matrix fragments for mma.m16n8k16".)
template <class T>
__device__ inline void multiply_add(float (&out)[4], const unsigned (&left)[4], unsigned right0, unsigned right1);
#define MULTIPLY_ADD(type, name)                                                                                         \
    template <>                                                                                                          \
    __device__ inline void multiply_add<type>(float (&out)[4], const unsigned (&left)[4], unsigned right0,               \
                                              unsigned right1)                                                           \
    {                                                                                                                    \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 {%0, %1, %2, %3}, "                    \
                     "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                                     \
                     : "+f"(out[0]), "+f"(out[1]), "+f"(out[2]), "+f"(out[3])                                            \
                     : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));                \
    }
MULTIPLY_ADD(bfloat16, "bf16")
MULTIPLY_ADD(float16, "f16")
#undef MULTIPLY_ADD

// Four matrices of 8 x 8 numbers in shared memory, of which lane i gives row i % 8 of matrix i / 8 (16 bytes, so aligned):
// out[m] is matrix m's column `group`, rows `pair` and the next.
template <class T> __device__ inline void load_transposed(unsigned (&out)[4], const T *row)
{
    const unsigned address = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}
#define KERNEL(name) extern "C" __global__ void name
// After a kernel's definition; only the emulation has to know it by name.
#define DECLARED(name)
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) float name[]
#define SHARED_ARRAY(type, name, count) __shared__ __align__(16) type name[count]
#endif

__device__ inline float to_float(float x) { return x; }
__device__ inline void store(float *out, float x) { *out = x; }

// Two numbers of 16 bits that stand beside each other, the first of them at an even place.
template <class T> __device__ inline unsigned two_numbers(const T *numbers)
{
    return *reinterpret_cast<const unsigned *>(numbers);
}
template <class T> __device__ inline void store_two(T *out, unsigned numbers)
{
    *reinterpret_cast<unsigned *>(out) = numbers;
}

// Eight numbers that begin at a multiple of eight: a piece that a lane moves at once.
constexpr int EIGHT = 8;

template <class T> __device__ inline void load_eight(const T *from, float (&x)[EIGHT])
{
    alignas(16) T numbers[EIGHT];
#pragma unroll
    for (int word = 0; word < (int)(sizeof(numbers) / sizeof(uint4)); word++)
        reinterpret_cast<uint4 *>(numbers)[word] = reinterpret_cast<const uint4 *>(from)[word];
#pragma unroll
    for (int place = 0; place < EIGHT; place++)
        x[place] = to_float(numbers[place]);
}
template <class T> __device__ inline void store_eight(T *to, const float (&x)[EIGHT])
{
    alignas(16) T numbers[EIGHT];
#pragma unroll
    for (int place = 0; place < EIGHT; place++)
        store(&numbers[place], x[place]);
#pragma unroll
    for (int word = 0; word < (int)(sizeof(numbers) / sizeof(uint4)); word++)
        reinterpret_cast<uint4 *>(to)[word] = reinterpret_cast<const uint4 *>(numbers)[word];
}

// Up to eight numbers from a multiple of eight on, of a row whose width may be any: those that are there, and zeros.
template <class T> __device__ inline void load_some(const T *from, int count, float (&x)[EIGHT])
{
#pragma unroll
    for (int place = 0; place < EIGHT; place++)
        x[place] = place < count ? to_float(from[place]) : 0.0f;
}
template <class T> __device__ inline void store_some(T *to, int count, const float (&x)[EIGHT])
{
#pragma unroll
    for (int place = 0; place < EIGHT; place++)
        if (place < count)
            store(&to[place], x[place]);
}

// The eight numbers of group `group` of a row, or what there is of them; `is_even`: the width is a multiple of eight.
template <class T> __device__ inline void load_group(const T *row, int group, int width, bool is_even, float (&x)[EIGHT])
{
    if (is_even)
        load_eight(row + EIGHT * group, x);
    else
        load_some(row + EIGHT * group, width - EIGHT * group, x);
}
template <class T>
__device__ inline void store_group(T *row, int group, int width, bool is_even, const float (&x)[EIGHT])
{
    if (is_even)
        store_eight(row + EIGHT * group, x);
    else
        store_some(row + EIGHT * group, width - EIGHT * group, x);
}

__device__ inline void add_eight(float (&x)[EIGHT], const float (&y)[EIGHT])
{
#pragma unroll
    for (int place = 0; place < EIGHT; place++)
        x[place] += y[place];
}
__device__ inline void multiply_eight(float (&x)[EIGHT], const float (&y)[EIGHT])
{
#pragma unroll
    for (int place = 0; place < EIGHT; place++)
        x[place] *= y[place];
}

// The group of eight columns that a thread has, of kernels with a thread for each; `row` isn't below the rows where it has
// none.
struct GroupOfThread {
    long long row;
    int group;
};

__device__ inline GroupOfThread group_of_thread(int width)
{
    const int groups = (width + EIGHT - 1) / EIGHT;
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    return {number / groups, (int)(number % groups)};
}

#define JOIN_NAMES(a, b) a##b
#define JOIN(a, b) JOIN_NAMES(a, b)

constexpr int WARP = 32;

__device__ inline int lane_number() { return threadIdx.x % WARP; }
__device__ inline int warp_number() { return threadIdx.x / WARP; }
__device__ inline int warps_of_block() { return blockDim.x / WARP; }

// A dropout's factors, as `DropoutMask` in src/random.rs draws them. Without dropout `scale` is 1 and `threshold` 0.
struct Mask {
    unsigned key0, key1, step, site, threshold;
    float scale;
};

__device__ inline bool acts(const Mask &mask) { return mask.threshold != 0 || mask.scale != 1.0f; }

// Factors of one block of random words: each takes 16 bits, the words' lower halves before their upper ones.
constexpr int FACTORS = EIGHT;

// Philox4x32-10: the random words of elements FACTORS · index, … .
__device__ inline void words_of(const Mask &mask, unsigned long long index, unsigned (&c)[4])
{
    c[0] = (unsigned)index;
    c[1] = (unsigned)(index >> 32);
    c[2] = mask.step;
    c[3] = mask.site;
    unsigned key0 = mask.key0, key1 = mask.key1;
    for (int round = 0; round < 10; round++) {
        unsigned long long first = (unsigned long long)c[0] * 0xD2511F53u;
        unsigned long long second = (unsigned long long)c[2] * 0xCD9E8D57u;
        unsigned next0 = (unsigned)(second >> 32) ^ c[1] ^ key0;
        unsigned next2 = (unsigned)(first >> 32) ^ c[3] ^ key1;
        c[0] = next0;
        c[1] = (unsigned)second;
        c[2] = next2;
        c[3] = (unsigned)first;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

// The factors of elements FACTORS · index, … .
__device__ inline void factors_of(const Mask &mask, unsigned long long index, float factors[FACTORS])
{
    unsigned c[4];
    words_of(mask, index, c);
    for (int word = 0; word < 4; word++) {
        factors[word] = (c[word] & 0xffff) >= mask.threshold ? mask.scale : 0.0f;
        factors[4 + word] = c[word] >> 16 >= mask.threshold ? mask.scale : 0.0f;
    }
}

// Which of them aren't dropped: a bit each, the first in the lowest place.
__device__ inline unsigned kept_of(const Mask &mask, unsigned long long index)
{
    unsigned c[4], kept = 0;
    words_of(mask, index, c);
#pragma unroll
    for (int word = 0; word < 4; word++) {
        kept |= (unsigned)((c[word] & 0xffff) >= mask.threshold) << word;
        kept |= (unsigned)(c[word] >> 16 >= mask.threshold) << (4 + word);
    }
    return kept;
}

// The factor of one element.
__device__ inline float factor_of(const Mask &mask, unsigned long long element)
{
    float factors[FACTORS];
    factors_of(mask, element / FACTORS, factors);
    float factor = factors[0];
    // Without an index, so that they stay in registers.
#pragma unroll
    for (int place = 1; place < FACTORS; place++)
        factor = element % FACTORS == place ? factors[place] : factor;
    return factor;
}

// Where row `row` of a matrix `width` wide begins among a mask's blocks: each row begins one.
__device__ inline unsigned long long first_group(long long row, int width)
{
    return (unsigned long long)row * ((width + FACTORS - 1) / FACTORS);
}

// The sum over the block's threads, 256 at most, for each of them: always in the same order.
__device__ inline double block_sum(double x)
{
    __shared__ double all[256];
    // Nobody still reads what the sum before left there.
    __syncthreads();
    all[threadIdx.x] = x;
    for (int reach = 128; reach > 0; reach /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < reach && threadIdx.x + reach < blockDim.x)
            all[threadIdx.x] += all[threadIdx.x + reach];
    }
    __syncthreads();
    return all[0];
}
