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
#define KERNEL(name) extern "C" __global__ void name
// After a kernel's definition; only the emulation has to know it by name.
#define DECLARED(name)
#define DYNAMIC_SHARED(name) extern __shared__ float name[]
#endif

__device__ inline float to_float(float x) { return x; }
__device__ inline void store(float *out, float x) { *out = x; }

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
constexpr int FACTORS = 8;

// Philox4x32-10: the factors of elements FACTORS · index, … .
__device__ inline void factors_of(const Mask &mask, unsigned long long index, float factors[FACTORS])
{
    unsigned c[4] = {(unsigned)index, (unsigned)(index >> 32), mask.step, mask.site};
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
    for (int word = 0; word < 4; word++) {
        factors[word] = (c[word] & 0xffff) >= mask.threshold ? mask.scale : 0.0f;
        factors[4 + word] = c[word] >> 16 >= mask.threshold ? mask.scale : 0.0f;
    }
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
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int thread = 1; thread < (int)blockDim.x; thread++)
            x += all[thread];
        all[0] = x;
    }
    __syncthreads();
    return all[0];
}
