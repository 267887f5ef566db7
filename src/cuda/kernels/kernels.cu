// All kernels of the library, as one file for the compiler.

#include "common.cuh"

// ---- Activations' values and derivatives, as in src/ops/activation.rs -----------------------------------------------

enum { GELU = 0, GELU_TANH = 1, RELU = 2, TANH = 3 };

__device__ inline void activate(int activation, float x, float *value, float *slope)
{
    switch (activation) {
    case GELU: {
        float cumulative = 0.5f * (1.0f + erff(x * 0.70710678f));
        *value = x * cumulative;
        *slope = cumulative + x * 0.39894228f * expf(-0.5f * x * x);
        break;
    }
    case GELU_TANH: {
        float t = tanhf(0.79788456f * (x + 0.044715f * x * x * x));
        float inner = 0.79788456f * (1.0f + 3.0f * 0.044715f * x * x);
        *value = 0.5f * x * (1.0f + t);
        *slope = 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
        break;
    }
    case RELU:
        // A NaN stays.
        *value = x < 0.0f ? 0.0f : x;
        *slope = x > 0.0f ? 1.0f : 0.0f;
        break;
    default: {
        float t = tanhf(x);
        *value = t;
        *slope = 1.0f - t * t;
    }
    }
}

// Rows that a block of the attention kernels has, and its warps; src/cuda/pass.rs has the same numbers.
constexpr int FORWARD_ROWS = 16;
constexpr int BACKWARD_ROWS = 8;
constexpr int ATTENTION_WARPS = 4;
// Rows of a block of the kernels by tensor cores, of both sides.
constexpr int TENSOR_ROWS = 64;

constexpr float LOG2_E = 1.44269504f;

// Where a block of attention's kernels is: a head of one sequence's rows from `first_row` on. `width` numbers are between
// two rows, the sequence begins at row `start`, and its head at number `head_start`.
struct AttentionBlock {
    int head, first_row, length;
    long long width, start, head_start;
};

// `tiles` has for each block its sequence and the first of its rows in it.
__device__ inline AttentionBlock attention_block(const int *offsets, const int *tiles, int heads, int head_size)
{
    const int sequence = tiles[2 * blockIdx.x];
    const int head = blockIdx.y;
    const long long width = (long long)heads * head_size, start = offsets[sequence];
    return {head,  tiles[2 * blockIdx.x + 1], offsets[sequence + 1] - (int)start,
            width, start,                     start * width + (long long)head * head_size};
}

// A warp's sums of products, all zero.
template <int count> __device__ inline void clear(float (&sums)[count][4])
{
#pragma unroll
    for (int step = 0; step < count; step++)
        sums[step][0] = sums[step][1] = sums[step][2] = sums[step][3] = 0.0f;
}

// ---- The dropout of attention's probabilities, shared out over a warp ------------------------------------------------
//
// A query's mask has a block of random words for each 8 keys. Each lane makes four of a warp's and hands their bits on:
// the lower two bytes are of the first 8 of the warp's rows, the upper two of the others; the first byte of each two is of
// the first 32 of the other side's rows, the second of the others.

__device__ inline bool kept_bit(unsigned kept, int half, int side, int place)
{
    return kept >> (8 * (2 * half + side) + place) & 1;
}

// For 16 queries, the first of which has the mask's row `number` and the others every `heads` rows on, and 64 keys from
// `first_key`: lane 4 r + k gets queries r and r + 8, keys 8 k … and 32 + 8 k … .
__device__ inline unsigned kept_of_rows(const Mask &mask, int stride, unsigned long long number, int heads,
                                        int first_key)
{
    unsigned kept = 0;
#pragma unroll
    for (int part = 0; part < 4; part++) {
        const unsigned long long row = number + (unsigned long long)(lane_number() / 4 + 8 * (part / 2)) * heads;
        const unsigned long long first = (row * stride + first_key) / FACTORS;
        kept |= kept_of(mask, first + lane_number() % 4 + 4 * (part % 2)) << (8 * part);
    }
    return kept;
}

// The same for 64 queries and 16 keys: lane i gets queries i and i + 32, both halves of the keys.
__device__ inline unsigned kept_of_columns(const Mask &mask, int stride, unsigned long long number, int heads,
                                           int first_key)
{
    unsigned kept = 0;
#pragma unroll
    for (int part = 0; part < 4; part++) {
        const unsigned long long row = number + (unsigned long long)(lane_number() + WARP * (part % 2)) * heads;
        kept |= kept_of(mask, (row * stride + first_key) / FACTORS + part / 2) << (8 * part);
    }
    return kept;
}

// ---- The kernels over states -----------------------------------------------------------------------------------------

#define real float
#define SUFFIX _f32
#include "states.cuh"
#undef real
#undef SUFFIX

#define real bfloat16
#define SUFFIX _bf16
#include "states.cuh"
#define HEAD 32
#include "tensor_attention.cuh"
#undef HEAD
#define HEAD 64
#include "tensor_attention.cuh"
#undef HEAD
#undef real
#undef SUFFIX

// Nothing is trained in float16.
#define real float16
#define SUFFIX _f16
#define FORWARD_ONLY
#include "states.cuh"
#define HEAD 32
#include "tensor_attention.cuh"
#undef HEAD
#define HEAD 64
#include "tensor_attention.cuh"
#undef HEAD
#undef real
#undef SUFFIX
#undef FORWARD_ONLY

// ---- The losses ------------------------------------------------------------------------------------------------------

#include "loss.cuh"

// ---- The kernels over parameters -------------------------------------------------------------------------------------

// Columns' sums over `count` parts of `width` numbers each.
struct PartSum {
    float *sum;
    const float *parts;
    int count, width;
};

// As many as a launch has at most, as in src/cuda/pass.rs.
struct PartSums {
    PartSum all[10];
};

// sum += Σ over the parts, in their order; a thread a column, a row of blocks for each of the sums.
KERNEL(add_parts)(PartSums sums)
{
    const PartSum &here = sums.all[blockIdx.y];
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= here.width)
        return;
    float sum = here.sum[column];
#pragma unroll 8
    for (int part = 0; part < here.count; part++)
        sum += here.parts[(long long)part * here.width + column];
    here.sum[column] = sum;
}
DECLARED(add_parts)

// Adds to rows of an embedding table's gradient: row rows[i] gets parts starts[i] … starts[i + 1] - 1, in that order; a
// block a row.
KERNEL(embedding_gradients)(float *gradient, const int *rows, const int *starts, const float *parts, int width)
{
    float *row = gradient + (long long)rows[blockIdx.x] * width;
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float sum = 0.0f;
#pragma unroll 8
        for (int part = starts[blockIdx.x]; part < starts[blockIdx.x + 1]; part++)
            sum += parts[(long long)part * width + column];
        row[column] += sum;
    }
}
DECLARED(embedding_gradients)

// One parameter's place among all that are trained, or that of a row that is measured in a unit of its own. A block of
// threads has a piece of PIECE numbers of one.
struct Slice {
    const float *value;
    float *updated, *gradient, *first, *second;
    long long count;
    double rate_factor, weight_decay, unit;
};

// As in src/cuda/values.rs.
constexpr long long PIECE = 4096;

// Which of `count` arrays piece `piece` is of; `pieces` has for each the number of its first piece.
__device__ inline int array_of(const int *pieces, int count, int piece)
{
    int low = 0, high = count - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (pieces[middle] <= piece)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

// The parameter that piece `piece` is of, and where in it the piece begins.
__device__ inline Slice slice_of(const Slice *slices, const int *pieces, int slice_count, int piece, long long *start)
{
    const int slice = array_of(pieces, slice_count, piece);
    *start = (long long)(piece - pieces[slice]) * PIECE;
    return slices[slice];
}

// The sum of the squares of each piece of the gradients, in float64.
KERNEL(square_sums)(const Slice *slices, const int *pieces, int slice_count, double *sums)
{
    long long start;
    Slice slice = slice_of(slices, pieces, slice_count, blockIdx.x, &start);
    long long last = start + PIECE < slice.count ? start + PIECE : slice.count;
    double sum = 0.0;
    for (long long place = start + threadIdx.x; place < last; place += blockDim.x)
        sum += (double)slice.gradient[place] * slice.gradient[place];
    sum = block_sum(sum) * slice.unit * slice.unit;
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}
DECLARED(square_sums)

// The gradients' norm goes to the outcome, and whether updates go on; one block.
KERNEL(global_norm)(const double *sums, int count, Outcome *outcome)
{
    double sum = 0.0;
    for (int place = threadIdx.x; place < count; place += blockDim.x)
        sum += sums[place];
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        outcome->norm = sqrt(sum);
        if (!isfinite(outcome->norm) || !isfinite(outcome->loss))
            outcome->has_stopped = 1.0;
    }
}
DECLARED(global_norm)

// The constants of one update, as `Rule` in src/train/optimizer.rs.
struct Rule {
    double learning_rate, max_norm;
    double first_correction;
    float beta1, rest1, beta2, rest2, root_correction, epsilon;
};

// One update of every parameter, by the norm that stands in the outcome: clipped by it, and left out, values copied, where
// it says so.
KERNEL(adamw)(const Slice *slices, const int *pieces, int slice_count, Rule rule, const Outcome *outcome)
{
    long long start;
    Slice slice = slice_of(slices, pieces, slice_count, blockIdx.x, &start);
    long long last = start + PIECE < slice.count ? start + PIECE : slice.count;
    bool goes_on = outcome->has_stopped == 0.0;
    double clip = rule.max_norm == 0.0 ? 1.0 : rule.max_norm / (outcome->norm + 1e-6);
    float scale = (float)(clip < 1.0 ? clip : 1.0);
    double learning_rate = rule.learning_rate * slice.rate_factor;
    float step_size = (float)(learning_rate * slice.unit / rule.first_correction);
    float unit = (float)slice.unit;
    float shrink = (float)(1.0 - learning_rate * slice.weight_decay);
    for (long long place = start + threadIdx.x; place < last; place += blockDim.x) {
        float value = slice.value[place];
        if (goes_on) {
            float gradient = slice.gradient[place] * unit * scale;
            float first = rule.beta1 * slice.first[place] + rule.rest1 * gradient;
            float second = rule.beta2 * slice.second[place] + rule.rest2 * gradient * gradient;
            slice.first[place] = first;
            slice.second[place] = second;
            float denominator = sqrtf(second) / rule.root_correction + rule.epsilon;
            value = value * shrink - step_size * (first / denominator);
        }
        slice.updated[place] = value;
    }
}
DECLARED(adamw)

// One matrix and its copy of 16 bits.
struct Copy {
    const float *from;
    void *to;
    long long count;
};

// Copies of float32 matrices, rounded to `real`; a block of threads a piece.
template <class real> __device__ inline void round_piece(const Copy *copies, const int *pieces, int count)
{
    const int number = array_of(pieces, count, blockIdx.x);
    const Copy copy = copies[number];
    const long long start = (blockIdx.x - pieces[number]) * PIECE;
    const int left = (int)(copy.count - start < PIECE ? copy.count - start : PIECE);
    const bool is_even = left % EIGHT == 0;
    for (int group = threadIdx.x; EIGHT * group < left; group += blockDim.x) {
        float x[EIGHT];
        load_group(copy.from + start, group, left, is_even, x);
        store_group((real *)copy.to + start, group, left, is_even, x);
    }
}

KERNEL(round_bf16)(const Copy *copies, const int *pieces, int count) { round_piece<bfloat16>(copies, pieces, count); }
DECLARED(round_bf16)
KERNEL(round_f16)(const Copy *copies, const int *pieces, int count) { round_piece<float16>(copies, pieces, count); }
DECLARED(round_f16)
