// The kernels over states, for one type: included once for each, with `real` the type and SUFFIX the end of their names;
// with FORWARD_ONLY those of predictions alone.

#define STATES_KERNEL(name) KERNEL(JOIN(name, SUFFIX))
#define STATES_DECLARED(name) DECLARED(JOIN(name, SUFFIX))

// ---- Layer norm ------------------------------------------------------------------------------------------------------

// x ← (x - mean) / deviation and y = (x · weight + bias) · factors for the row that stands in `row`, of one warp, whose
// lanes have a group of eight columns each in turn and read their own alone; `inverse` gets 1 / deviation. Variance from the
// centred values, as in src/ops/layer_norm.rs.
__device__ inline void JOIN(normalise, SUFFIX)(float *row, const float *weight, const float *bias, float epsilon,
                                               const Mask *mask, long long number, real *normalised, real *y,
                                               float *inverse, int width)
{
    const bool is_even = width % EIGHT == 0;
    float x[EIGHT], sum = 0.0f;
    for (int group = lane_number(); EIGHT * group < width; group += WARP) {
        load_group(row, group, width, is_even, x);
#pragma unroll
        for (int place = 0; place < EIGHT; place++)
            sum += x[place];
    }
    const float mean = warp_sum(sum) / width;
    float squares = 0.0f;
    for (int group = lane_number(); EIGHT * group < width; group += WARP) {
        load_group(row, group, width, is_even, x);
#pragma unroll
        for (int place = 0; place < EIGHT; place++) {
            const float centred = EIGHT * group + place < width ? x[place] - mean : 0.0f;
            squares += centred * centred;
        }
    }
    const float inverse_deviation = 1.0f / sqrtf(warp_sum(squares) / width + epsilon);
    for (int group = lane_number(); EIGHT * group < width; group += WARP) {
        float weights[EIGHT], biases[EIGHT], factors[EIGHT], out[EIGHT];
        load_group(row, group, width, is_even, x);
        load_group(weight, group, width, is_even, weights);
        load_group(bias, group, width, is_even, biases);
        if (mask != nullptr)
            factors_of(*mask, first_group(number, width) + group, factors);
#pragma unroll
        for (int place = 0; place < EIGHT; place++) {
            x[place] = (x[place] - mean) * inverse_deviation;
            out[place] = x[place] * weights[place] + biases[place];
            if (mask != nullptr)
                out[place] *= factors[place];
        }
        store_group(normalised, group, width, is_even, x);
        store_group(y, group, width, is_even, out);
    }
    if (lane_number() == 0)
        *inverse = inverse_deviation;
}

// The norm of dropout(x + before) + residual, where there are these; a warp a row. `x` becomes the normalised rows.
// `tokens` are the rows' rows of the mask, where they aren't the same.
STATES_KERNEL(norm_forward)(real *x, const float *before, const real *residual, Mask mask, const int *tokens,
                            const float *weight, const float *bias, float epsilon, real *y, float *inverses, int rows,
                            int width)
{
    DYNAMIC_SHARED(shared);
    long long number = (long long)blockIdx.x * warps_of_block() + warp_number();
    bool is_inside = number < rows;
    number = is_inside ? number : rows - 1;
    const bool is_even = width % EIGHT == 0;
    float *row = shared + warp_number() * width;
    for (int group = lane_number(); EIGHT * group < width; group += WARP) {
        float sums[EIGHT], others[EIGHT];
        load_group(x + number * width, group, width, is_even, sums);
        if (before != nullptr) {
            load_group(before, group, width, is_even, others);
            add_eight(sums, others);
        }
        if (acts(mask)) {
            factors_of(mask, first_group(tokens != nullptr ? tokens[number] : number, width) + group, others);
            multiply_eight(sums, others);
        }
        if (residual != nullptr) {
            load_group(residual + number * width, group, width, is_even, others);
            add_eight(sums, others);
        }
        store_group(row, group, width, is_even, sums);
    }
    __syncthreads();
    if (is_inside)
        JOIN(normalise, SUFFIX)(row, weight, bias, epsilon, nullptr, number, x + number * width, y + number * width,
                                inverses + number, width);
}
STATES_DECLARED(norm_forward)

// The embeddings' sum, its norm, and dropout behind it; a warp a token.
STATES_KERNEL(embed_forward)(const float *words, const float *types, const float *positions, const int *word_of,
                             const int *type_of, const int *position_of, const float *weight, const float *bias,
                             float epsilon, Mask mask, real *normalised, real *y, float *inverses, int rows, int width)
{
    DYNAMIC_SHARED(shared);
    long long number = (long long)blockIdx.x * warps_of_block() + warp_number();
    bool is_inside = number < rows;
    number = is_inside ? number : rows - 1;
    const bool is_even = width % EIGHT == 0;
    float *row = shared + warp_number() * width;
    const float *word = words + (long long)word_of[number] * width;
    const float *type = types + (long long)type_of[number] * width;
    const float *position = positions + (long long)position_of[number] * width;
    for (int group = lane_number(); EIGHT * group < width; group += WARP) {
        float sums[EIGHT], others[EIGHT];
        load_group(word, group, width, is_even, sums);
        load_group(type, group, width, is_even, others);
        add_eight(sums, others);
        load_group(position, group, width, is_even, others);
        add_eight(sums, others);
        store_group(row, group, width, is_even, sums);
    }
    __syncthreads();
    if (is_inside)
        JOIN(normalise, SUFFIX)(row, weight, bias, epsilon, acts(mask) ? &mask : nullptr, number,
                                normalised + number * width, y + number * width, inverses + number, width);
}
STATES_DECLARED(embed_forward)

#ifndef FORWARD_ONLY
// Parts of the gradients of a norm's weight and bias: a thread a column, a part each `rows_of_part` rows.
STATES_KERNEL(norm_gradients)(const real *dy, const real *normalised, float *weight_parts, float *bias_parts, int rows,
                              int width, int rows_of_part)
{
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= width)
        return;
    int first = blockIdx.y * rows_of_part;
    int last = min(first + rows_of_part, rows);
    float weight_sum = 0.0f, bias_sum = 0.0f;
#pragma unroll 8
    for (int row = first; row < last; row++) {
        long long place = (long long)row * width + column;
        float derivative = to_float(dy[place]);
        weight_sum += derivative * to_float(normalised[place]);
        bias_sum += derivative;
    }
    weight_parts[(long long)blockIdx.y * width + column] = weight_sum;
    bias_parts[(long long)blockIdx.y * width + column] = bias_sum;
}
STATES_DECLARED(norm_gradients)

// `dy` becomes the derivative by the norm's input; a warp a row.
STATES_KERNEL(norm_backward)(const float *weight, const real *normalised, const float *inverses, real *dy, int rows,
                             int width)
{
    long long number = (long long)blockIdx.x * warps_of_block() + warp_number();
    bool is_inside = number < rows;
    number = is_inside ? number : rows - 1;
    dy += number * width;
    normalised += number * width;
    const bool is_even = width % EIGHT == 0;
    float derivatives[EIGHT], weights[EIGHT], x[EIGHT];
    float sum = 0.0f, slope = 0.0f;
    for (int group = lane_number(); EIGHT * group < width; group += WARP) {
        load_group(dy, group, width, is_even, derivatives);
        load_group(weight, group, width, is_even, weights);
        load_group(normalised, group, width, is_even, x);
#pragma unroll
        for (int place = 0; place < EIGHT; place++) {
            const float derivative = derivatives[place] * weights[place];
            sum += derivative;
            slope += derivative * x[place];
        }
    }
    const float mean = warp_sum(sum) / width;
    slope = warp_sum(slope) / width;
    if (!is_inside)
        return;
    const float inverse = inverses[number];
    for (int group = lane_number(); EIGHT * group < width; group += WARP) {
        load_group(dy, group, width, is_even, derivatives);
        load_group(weight, group, width, is_even, weights);
        load_group(normalised, group, width, is_even, x);
#pragma unroll
        for (int place = 0; place < EIGHT; place++)
            derivatives[place] = (derivatives[place] * weights[place] - mean - x[place] * slope) * inverse;
        store_group(dy, group, width, is_even, derivatives);
    }
}
STATES_DECLARED(norm_backward)
#endif

// ---- Rows ------------------------------------------------------------------------------------------------------------

#ifndef FORWARD_ONLY
// Parts of a bias's gradient, as norm_gradients.
STATES_KERNEL(sum_rows)(const real *dy, float *parts, int rows, int width, int rows_of_part)
{
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= width)
        return;
    int first = blockIdx.y * rows_of_part;
    int last = min(first + rows_of_part, rows);
    float sum = 0.0f;
#pragma unroll 8
    for (int row = first; row < last; row++)
        sum += to_float(dy[(long long)row * width + column]);
    parts[(long long)blockIdx.y * width + column] = sum;
}
STATES_DECLARED(sum_rows)

// out = x · factors, or out += x · factors; a thread FACTORS columns. `out` may be `x`; `tokens` as above.
STATES_KERNEL(dropout_rows)(const real *x, real *out, Mask mask, const int *tokens, int adds, int rows, int width)
{
    const auto [row, group] = group_of_thread(width);
    if (row >= rows)
        return;
    const bool is_even = width % EIGHT == 0;
    float values[EIGHT], others[EIGHT];
    load_group(x + row * width, group, width, is_even, values);
    if (acts(mask)) {
        factors_of(mask, first_group(tokens != nullptr ? tokens[row] : row, width) + group, others);
        multiply_eight(values, others);
    }
    if (adds) {
        load_group(out + row * width, group, width, is_even, others);
        add_eight(values, others);
    }
    store_group(out + row * width, group, width, is_even, values);
}
STATES_DECLARED(dropout_rows)
#endif

// ---- Activations -----------------------------------------------------------------------------------------------------

// x ← x + bias, y = activation(x); a thread eight numbers of a row.
STATES_KERNEL(activation_forward)(real *x, const float *bias, real *y, int activation, int rows, int width)
{
    const auto [row, group] = group_of_thread(width);
    if (row >= rows)
        return;
    const bool is_even = width % EIGHT == 0;
    float sums[EIGHT], biases[EIGHT];
    load_group(x + row * width, group, width, is_even, sums);
    load_group(bias, group, width, is_even, biases);
#pragma unroll
    for (int place = 0; place < EIGHT; place++) {
        // As the backward pass will find it.
        real kept;
        store(&kept, sums[place] + biases[place]);
        sums[place] = to_float(kept);
    }
    store_group(x + row * width, group, width, is_even, sums);
#pragma unroll
    for (int place = 0; place < EIGHT; place++) {
        float slope;
        activate(activation, sums[place], &sums[place], &slope);
    }
    store_group(y + row * width, group, width, is_even, sums);
}
STATES_DECLARED(activation_forward)

#ifndef FORWARD_ONLY
// y = activation(x) once more, dy ← dy · its derivative; a thread eight numbers.
STATES_KERNEL(activation_backward)(const real *x, real *y, real *dy, int activation, int rows, int width)
{
    const auto [row, group] = group_of_thread(width);
    if (row >= rows)
        return;
    const bool is_even = width % EIGHT == 0;
    float values[EIGHT], derivatives[EIGHT];
    load_group(x + row * width, group, width, is_even, values);
    load_group(dy + row * width, group, width, is_even, derivatives);
#pragma unroll
    for (int place = 0; place < EIGHT; place++) {
        float slope;
        activate(activation, values[place], &values[place], &slope);
        derivatives[place] *= slope;
    }
    store_group(y + row * width, group, width, is_even, values);
    store_group(dy + row * width, group, width, is_even, derivatives);
}
STATES_DECLARED(activation_backward)
#endif

// x ← x + bias; a thread eight numbers of a row.
STATES_KERNEL(add_bias)(real *x, const float *bias, int rows, int width)
{
    const auto [row, group] = group_of_thread(width);
    if (row >= rows)
        return;
    const bool is_even = width % EIGHT == 0;
    float sums[EIGHT], biases[EIGHT];
    load_group(x + row * width, group, width, is_even, sums);
    load_group(bias, group, width, is_even, biases);
    add_eight(sums, biases);
    store_group(x + row * width, group, width, is_even, sums);
}
STATES_DECLARED(add_bias)

// ---- Pooling and embeddings ------------------------------------------------------------------------------------------

// out = the rows of these tokens; a thread eight numbers of a row.
STATES_KERNEL(take_rows)(const real *states, const int *tokens, real *out, int rows, int width)
{
    const auto [row, group] = group_of_thread(width);
    if (row >= rows)
        return;
    const bool is_even = width % EIGHT == 0;
    float values[EIGHT];
    load_group(states + (long long)tokens[row] * width, group, width, is_even, values);
    store_group(out + row * width, group, width, is_even, values);
}
STATES_DECLARED(take_rows)

// The mean of each sequence's states, which begin at `offsets`; without them there is one state of each. A block a sequence.
STATES_KERNEL(pool_forward)(const real *states, const int *offsets, float *pooled, int width)
{
    const long long first = offsets != nullptr ? offsets[blockIdx.x] : blockIdx.x;
    const long long length = offsets != nullptr ? offsets[blockIdx.x + 1] - first : 1;
    const float share = 1.0f / length;
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float mean = to_float(states[first * width + column]) * share;
        for (long long row = 1; row < length; row++)
            mean += to_float(states[(first + row) * width + column]) * share;
        pooled[(long long)blockIdx.x * width + column] = mean;
    }
}
STATES_DECLARED(pool_forward)

#ifndef FORWARD_ONLY
// The derivative by every state there is; `offsets` as in pool_forward.
STATES_KERNEL(pool_backward)(const float *dpooled, const int *offsets, real *dstates, int width)
{
    const long long first = offsets != nullptr ? offsets[blockIdx.x] : blockIdx.x;
    const long long length = offsets != nullptr ? offsets[blockIdx.x + 1] - first : 1;
    const float share = 1.0f / length;
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        const float value = dpooled[(long long)blockIdx.x * width + column] * share;
        for (long long row = 0; row < length; row++)
            store(&dstates[(first + row) * width + column], value);
    }
}
STATES_DECLARED(pool_backward)

// The derivative by all states from that by each sequence's first: zero for the others. A sequence's rows go to blocks of
// the second dimension in turn.
STATES_KERNEL(spread_rows)(const real *first_rows, const int *offsets, real *out, int width)
{
    const bool is_even = width % EIGHT == 0;
    const long long first = offsets[blockIdx.x], length = offsets[blockIdx.x + 1] - first;
    for (long long row = blockIdx.y; row < length; row += gridDim.y)
        for (int group = threadIdx.x; EIGHT * group < width; group += blockDim.x) {
            float values[EIGHT] = {};
            if (row == 0)
                load_group(first_rows + (long long)blockIdx.x * width, group, width, is_even, values);
            store_group(out + (first + row) * width, group, width, is_even, values);
        }
}
STATES_DECLARED(spread_rows)

// Sums of the derivatives of tokens[starts[i]] … tokens[starts[i + 1] - 1], in that order: part i of an embedding table's
// gradient, all of one row; a block a part.
STATES_KERNEL(embedding_parts)(const real *dstates, const int *starts, const int *tokens, float *parts, int width)
{
    const int first = starts[blockIdx.x], last = starts[blockIdx.x + 1];
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float sum = 0.0f;
#pragma unroll 8
        for (int place = first; place < last; place++)
            sum += to_float(dstates[(long long)tokens[place] * width + column]);
        parts[(long long)blockIdx.x * width + column] = sum;
    }
}
STATES_DECLARED(embedding_parts)
#endif

// ---- Attention -------------------------------------------------------------------------------------------------------

#define CHUNKS 1
#include "attention.cuh"
#undef CHUNKS
#define CHUNKS 2
#include "attention.cuh"
#undef CHUNKS
#define CHUNKS 4
#include "attention.cuh"
#undef CHUNKS

#ifndef FORWARD_ONLY
// Σ over a head's columns of context · dcontext, for each token and head; a warp each.
STATES_KERNEL(attention_deltas)(const real *context, const real *dcontext, float *deltas, int tokens, int heads,
                                int head_size)
{
    long long number = (long long)blockIdx.x * warps_of_block() + warp_number();
    long long count = (long long)tokens * heads;
    bool is_inside = number < count;
    number = is_inside ? number : count - 1;
    float sum = 0.0f;
    for (int column = lane_number(); column < head_size; column += WARP)
        sum += to_float(context[number * head_size + column]) * to_float(dcontext[number * head_size + column]);
    sum = warp_sum(sum);
    if (is_inside && lane_number() == 0)
        deltas[number] = sum;
}
STATES_DECLARED(attention_deltas)
#endif

#undef STATES_KERNEL
#undef STATES_DECLARED
