// The kernels over states, for one type: included once for each, with `real` the type and SUFFIX the end of their names;
// with FORWARD_ONLY those of predictions alone.

#define STATES_KERNEL(name) KERNEL(JOIN(name, SUFFIX))
#define STATES_DECLARED(name) DECLARED(JOIN(name, SUFFIX))

// ---- Layer norm ------------------------------------------------------------------------------------------------------

// x ← (x - mean) / deviation and y = x · weight + bias for the row that stands in `row`, of one warp; `inverse` gets
// 1 / deviation. Variance from the centred values, as in src/ops/layer_norm.rs.
__device__ inline void JOIN(normalise, SUFFIX)(float *row, const float *weight, const float *bias, float epsilon,
                                               real *normalised, real *y, float *inverse, int width)
{
    float sum = 0.0f;
    for (int column = lane_number(); column < width; column += WARP)
        sum += row[column];
    float mean = warp_sum(sum) / width;
    float squares = 0.0f;
    for (int column = lane_number(); column < width; column += WARP) {
        float centred = row[column] - mean;
        squares += centred * centred;
    }
    float inverse_deviation = 1.0f / sqrtf(warp_sum(squares) / width + epsilon);
    for (int column = lane_number(); column < width; column += WARP) {
        float value = (row[column] - mean) * inverse_deviation;
        store(&normalised[column], value);
        store(&y[column], value * weight[column] + bias[column]);
    }
    if (lane_number() == 0)
        *inverse = inverse_deviation;
}

// The norm of dropout(x + before) + residual, where there are these; a warp a row. `x` becomes the normalised rows.
STATES_KERNEL(norm_forward)(real *x, const float *before, const real *residual, Mask mask, const float *weight,
                            const float *bias, float epsilon, real *y, float *inverses, int rows, int width)
{
    DYNAMIC_SHARED(shared);
    long long number = (long long)blockIdx.x * warps_of_block() + warp_number();
    bool is_inside = number < rows;
    number = is_inside ? number : rows - 1;
    float *row = shared + warp_number() * width;
    for (int group = lane_number(); FACTORS * group < width; group += WARP) {
        float factors[FACTORS] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f};
        if (acts(mask))
            factors_of(mask, first_group(number, width) + group, factors);
        for (int word = 0; word < FACTORS && FACTORS * group + word < width; word++) {
            int column = FACTORS * group + word;
            float value = to_float(x[number * width + column]);
            if (before != nullptr)
                value += before[column];
            value *= factors[word];
            if (residual != nullptr)
                value += to_float(residual[number * width + column]);
            row[column] = value;
        }
    }
    __syncthreads();
    if (is_inside)
        JOIN(normalise, SUFFIX)(row, weight, bias, epsilon, x + number * width, y + number * width, inverses + number,
                                width);
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
    float *row = shared + warp_number() * width;
    const float *word = words + (long long)word_of[number] * width;
    const float *type = types + (long long)type_of[number] * width;
    const float *position = positions + (long long)position_of[number] * width;
    for (int column = lane_number(); column < width; column += WARP)
        row[column] = word[column] + type[column] + position[column];
    __syncthreads();
    if (!is_inside)
        return;
    real *out = y + number * width;
    JOIN(normalise, SUFFIX)(row, weight, bias, epsilon, normalised + number * width, out, inverses + number, width);
    if (!acts(mask))
        return;
    __syncwarp();
    for (int group = lane_number(); FACTORS * group < width; group += WARP) {
        float factors[FACTORS];
        factors_of(mask, first_group(number, width) + group, factors);
        for (int word_number = 0; word_number < FACTORS && FACTORS * group + word_number < width; word_number++) {
            real *value = &out[FACTORS * group + word_number];
            store(value, to_float(*value) * factors[word_number]);
        }
    }
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
    float sum = 0.0f, slope = 0.0f;
    for (int column = lane_number(); column < width; column += WARP) {
        float derivative = to_float(dy[column]) * weight[column];
        sum += derivative;
        slope += derivative * to_float(normalised[column]);
    }
    float mean = warp_sum(sum) / width;
    slope = warp_sum(slope) / width;
    if (!is_inside)
        return;
    for (int column = lane_number(); column < width; column += WARP) {
        float derivative = to_float(dy[column]) * weight[column];
        store(&dy[column], (derivative - mean - to_float(normalised[column]) * slope) * inverses[number]);
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
    for (int row = first; row < last; row++)
        sum += to_float(dy[(long long)row * width + column]);
    parts[(long long)blockIdx.y * width + column] = sum;
}
STATES_DECLARED(sum_rows)

// out = x · factors, or out += x · factors; a thread FACTORS columns. `out` may be `x`.
STATES_KERNEL(dropout_rows)(const real *x, real *out, Mask mask, int adds, int rows, int width)
{
    int groups = (width + FACTORS - 1) / FACTORS;
    long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long row = number / groups;
    int group = number % groups;
    if (row >= rows)
        return;
    float factors[FACTORS] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f};
    if (acts(mask))
        factors_of(mask, first_group(row, width) + group, factors);
    for (int word = 0; word < FACTORS && FACTORS * group + word < width; word++) {
        long long place = row * width + FACTORS * group + word;
        float value = to_float(x[place]) * factors[word];
        store(&out[place], adds ? to_float(out[place]) + value : value);
    }
}
STATES_DECLARED(dropout_rows)
#endif

// ---- Activations -----------------------------------------------------------------------------------------------------

// x ← x + bias, y = activation(x); a thread a number.
STATES_KERNEL(activation_forward)(real *x, const float *bias, real *y, int activation, long long count, int width)
{
    long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count)
        return;
    float sum = to_float(x[place]) + bias[place % width];
    store(&x[place], sum);
    float value, slope;
    // Of the sum as the backward pass will find it.
    activate(activation, to_float(x[place]), &value, &slope);
    store(&y[place], value);
}
STATES_DECLARED(activation_forward)

#ifndef FORWARD_ONLY
// y = activation(x) once more, dy ← dy · its derivative.
STATES_KERNEL(activation_backward)(const real *x, real *y, real *dy, int activation, long long count)
{
    long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count)
        return;
    float value, slope;
    activate(activation, to_float(x[place]), &value, &slope);
    store(&y[place], value);
    store(&dy[place], to_float(dy[place]) * slope);
}
STATES_DECLARED(activation_backward)
#endif

// x ← x + bias.
STATES_KERNEL(add_bias)(real *x, const float *bias, long long count, int width)
{
    long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (place < count)
        store(&x[place], to_float(x[place]) + bias[place % width]);
}
STATES_DECLARED(add_bias)

// A copy of float32 values in the states' type.
STATES_KERNEL(cast)(const float *x, real *y, long long count)
{
    long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (place < count)
        store(&y[place], x[place]);
}
STATES_DECLARED(cast)

// ---- Pooling and embeddings ------------------------------------------------------------------------------------------

// Each sequence's first state, or the mean of its states; a block a sequence.
STATES_KERNEL(pool_forward)(const real *states, const int *offsets, float *pooled, int takes_mean, int width)
{
    long long first = offsets[blockIdx.x], length = offsets[blockIdx.x + 1] - first;
    float share = 1.0f / length;
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float value = to_float(states[first * width + column]);
        if (takes_mean) {
            value *= share;
            for (long long row = 1; row < length; row++)
                value += to_float(states[(first + row) * width + column]) * share;
        }
        pooled[(long long)blockIdx.x * width + column] = value;
    }
}
STATES_DECLARED(pool_forward)

#ifndef FORWARD_ONLY
// The derivative by every state.
STATES_KERNEL(pool_backward)(const float *dpooled, const int *offsets, real *dstates, int takes_mean, int width)
{
    long long first = offsets[blockIdx.x], length = offsets[blockIdx.x + 1] - first;
    float share = takes_mean ? 1.0f / length : 1.0f;
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float value = dpooled[(long long)blockIdx.x * width + column] * share;
        for (long long row = 0; row < length; row++)
            store(&dstates[(first + row) * width + column], takes_mean || row == 0 ? value : 0.0f);
    }
}
STATES_DECLARED(pool_backward)

// Adds to rows of an embedding table's gradient: row rows[i] gets the derivatives of the tokens
// tokens[starts[i]] … tokens[starts[i + 1] - 1], in that order; a block a row.
STATES_KERNEL(embedding_gradients)(const real *dstates, const int *rows, const int *starts, const int *tokens,
                                   float *gradient, int width)
{
    long long row = rows[blockIdx.x];
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float sum = 0.0f;
        for (int place = starts[blockIdx.x]; place < starts[blockIdx.x + 1]; place++)
            sum += to_float(dstates[(long long)tokens[place] * width + column]);
        gradient[row * width + column] += sum;
    }
}
STATES_DECLARED(embedding_gradients)
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
