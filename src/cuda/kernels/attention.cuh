// Attention over packed sequences, for one type and one range of head sizes: included for each, with CHUNKS the head's
// columns that a lane holds (head sizes up to 32 CHUNKS).
//
// Scores aren't kept: the forward pass leaves the logarithm of each row's sum, from which the backward pass makes them
// again (Dao, "FlashAttention-2", 2023). A block has a head of a few rows of one sequence and goes over all rows of the
// other side, 32 at a time, which stand in shared memory; a warp has some of the block's rows, and of the other side a
// lane has one row each. Sums over that side go in order.

#define ATTENTION_KERNEL(name) KERNEL(JOIN(JOIN(name, CHUNKS), SUFFIX))
#define ATTENTION_DECLARED(name) DECLARED(JOIN(JOIN(name, CHUNKS), SUFFIX))
#define ATTENTION_FUNCTION(name) JOIN(JOIN(name, CHUNKS), SUFFIX)

// Copies a head's columns of `count` rows into shared memory, rows `stride` apart; all threads of the block together.
__device__ inline void ATTENTION_FUNCTION(load_rows)(float *out, int stride, const real *rows, long long width,
                                                     int count, int head_size)
{
    for (int place = threadIdx.x; place < count * head_size; place += blockDim.x) {
        int row = place / head_size, column = place % head_size;
        out[row * stride + column] = to_float(rows[row * width + column]);
    }
}

// context = dropout(softmax(scale Q Kᵀ)) V.
ATTENTION_KERNEL(attention_forward)(const real *query, const real *key, const real *value, const int *offsets,
                                    const int *tiles, Mask mask, int mask_stride, float scale, real *context,
                                    float *log_sums, int heads, int head_size)
{
    DYNAMIC_SHARED(shared);
    const int stride = head_size + 1;
    float *queries = shared;
    float *keys = queries + FORWARD_ROWS * head_size;
    float *values = keys + WARP * stride;
    const int lane = lane_number();
    const auto [head, first_row, length, width, start, head_start] = attention_block(offsets, tiles, heads, head_size);
    ATTENTION_FUNCTION(load_rows)(queries, head_size, query + head_start + first_row * width, width,
                                  min(FORWARD_ROWS, length - first_row), head_size);
    constexpr int ROWS = FORWARD_ROWS / ATTENTION_WARPS;
    float sums[ROWS], most[ROWS], out[ROWS][CHUNKS];
    for (int row = 0; row < ROWS; row++) {
        sums[row] = 0.0f;
        most[row] = -INFINITY;
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            out[row][chunk] = 0.0f;
    }
    for (int first_key = 0; first_key < length; first_key += WARP) {
        const int count = min(WARP, length - first_key);
        __syncthreads();
        ATTENTION_FUNCTION(load_rows)(keys, stride, key + head_start + first_key * width, width, count, head_size);
        ATTENTION_FUNCTION(load_rows)(values, stride, value + head_start + first_key * width, width, count, head_size);
        __syncthreads();
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            const int place = warp_number() * ROWS + row;
            if (first_row + place >= length)
                continue;
            float score = -INFINITY;
            if (lane < count) {
                score = 0.0f;
                for (int column = 0; column < head_size; column++)
                    score += queries[place * head_size + column] * keys[lane * stride + column];
                score *= scale;
            }
            float highest = warp_highest(score);
            highest = most[row] > highest ? most[row] : highest;
            const float shrink = expf(most[row] - highest);
            float probability = lane < count ? expf(score - highest) : 0.0f;
            sums[row] = sums[row] * shrink + warp_sum(probability);
            most[row] = highest;
            if (acts(mask) && lane < count) {
                const unsigned long long mask_row = (unsigned long long)(start + first_row + place) * heads + head;
                probability *= factor_of(mask, mask_row * mask_stride + first_key + lane);
            }
#pragma unroll
            for (int chunk = 0; chunk < CHUNKS; chunk++)
                out[row][chunk] *= shrink;
            for (int other = 0; other < count; other++) {
                const float share = from_lane(probability, other);
#pragma unroll
                for (int chunk = 0; chunk < CHUNKS; chunk++)
                    if (lane + WARP * chunk < head_size)
                        out[row][chunk] += share * values[other * stride + lane + WARP * chunk];
            }
        }
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        const int place = warp_number() * ROWS + row;
        if (first_row + place >= length)
            continue;
        const long long token = start + first_row + place;
        const float share = 1.0f / sums[row];
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            if (lane + WARP * chunk < head_size)
                store(&context[token * width + (long long)head * head_size + lane + WARP * chunk],
                      out[row][chunk] * share);
        if (lane == 0)
            log_sums[token * heads + head] = most[row] + logf(sums[row]);
    }
}
ATTENTION_DECLARED(attention_forward)

#ifndef FORWARD_ONLY
// The derivative by the queries. `deltas` is of attention_deltas.
ATTENTION_KERNEL(attention_backward_query)(const real *query, const real *key, const real *value, const real *dcontext,
                                           const float *log_sums, const float *deltas, const int *offsets,
                                           const int *tiles, Mask mask, int mask_stride, float scale, real *dquery,
                                           int heads, int head_size)
{
    DYNAMIC_SHARED(shared);
    const int stride = head_size + 1;
    float *queries = shared;
    float *derivatives = queries + BACKWARD_ROWS * head_size;
    float *keys = derivatives + BACKWARD_ROWS * head_size;
    float *values = keys + WARP * stride;
    const int lane = lane_number();
    const auto [head, first_row, length, width, start, head_start] = attention_block(offsets, tiles, heads, head_size);
    const int rows = min(BACKWARD_ROWS, length - first_row);
    ATTENTION_FUNCTION(load_rows)(queries, head_size, query + head_start + first_row * width, width, rows, head_size);
    ATTENTION_FUNCTION(load_rows)(derivatives, head_size, dcontext + head_start + first_row * width, width, rows,
                                  head_size);
    constexpr int ROWS = BACKWARD_ROWS / ATTENTION_WARPS;
    float out[ROWS][CHUNKS];
    for (int row = 0; row < ROWS; row++)
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            out[row][chunk] = 0.0f;
    for (int first_key = 0; first_key < length; first_key += WARP) {
        const int count = min(WARP, length - first_key);
        __syncthreads();
        ATTENTION_FUNCTION(load_rows)(keys, stride, key + head_start + first_key * width, width, count, head_size);
        ATTENTION_FUNCTION(load_rows)(values, stride, value + head_start + first_key * width, width, count, head_size);
        __syncthreads();
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            const int place = warp_number() * ROWS + row;
            if (first_row + place >= length)
                continue;
            const long long token = start + first_row + place;
            float dscore = 0.0f;
            if (lane < count) {
                float score = 0.0f, dprobability = 0.0f;
                for (int column = 0; column < head_size; column++) {
                    score += queries[place * head_size + column] * keys[lane * stride + column];
                    dprobability += derivatives[place * head_size + column] * values[lane * stride + column];
                }
                if (acts(mask))
                    dprobability *= factor_of(
                        mask, ((unsigned long long)token * heads + head) * mask_stride + first_key + lane);
                dscore = expf(score * scale - log_sums[token * heads + head]) *
                         (dprobability - deltas[token * heads + head]) * scale;
            }
            for (int other = 0; other < count; other++) {
                const float share = from_lane(dscore, other);
#pragma unroll
                for (int chunk = 0; chunk < CHUNKS; chunk++)
                    if (lane + WARP * chunk < head_size)
                        out[row][chunk] += share * keys[other * stride + lane + WARP * chunk];
            }
        }
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        const int place = warp_number() * ROWS + row;
        if (first_row + place >= length)
            continue;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            if (lane + WARP * chunk < head_size)
                store(&dquery[head_start + (first_row + place) * width + lane + WARP * chunk], out[row][chunk]);
    }
}
ATTENTION_DECLARED(attention_backward_query)

// The derivatives by the keys and values: a block has rows of these, a lane one of the queries.
ATTENTION_KERNEL(attention_backward_key)(const real *query, const real *key, const real *value, const real *dcontext,
                                         const float *log_sums, const float *deltas, const int *offsets,
                                         const int *tiles, Mask mask, int mask_stride, float scale, real *dkey,
                                         real *dvalue, int heads, int head_size)
{
    DYNAMIC_SHARED(shared);
    const int stride = head_size + 1;
    float *keys = shared;
    float *values = keys + BACKWARD_ROWS * head_size;
    float *queries = values + BACKWARD_ROWS * head_size;
    float *derivatives = queries + WARP * stride;
    const int lane = lane_number();
    const auto [head, first_row, length, width, start, head_start] = attention_block(offsets, tiles, heads, head_size);
    const int rows = min(BACKWARD_ROWS, length - first_row);
    ATTENTION_FUNCTION(load_rows)(keys, head_size, key + head_start + first_row * width, width, rows, head_size);
    ATTENTION_FUNCTION(load_rows)(values, head_size, value + head_start + first_row * width, width, rows, head_size);
    constexpr int ROWS = BACKWARD_ROWS / ATTENTION_WARPS;
    float key_out[ROWS][CHUNKS], value_out[ROWS][CHUNKS];
    for (int row = 0; row < ROWS; row++)
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            key_out[row][chunk] = value_out[row][chunk] = 0.0f;
    for (int first_query = 0; first_query < length; first_query += WARP) {
        const int count = min(WARP, length - first_query);
        __syncthreads();
        ATTENTION_FUNCTION(load_rows)(queries, stride, query + head_start + first_query * width, width, count,
                                      head_size);
        ATTENTION_FUNCTION(load_rows)(derivatives, stride, dcontext + head_start + first_query * width, width, count,
                                      head_size);
        __syncthreads();
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            const int place = warp_number() * ROWS + row;
            if (first_row + place >= length)
                continue;
            float probability = 0.0f, dscore = 0.0f;
            if (lane < count) {
                const long long number = (start + first_query + lane) * heads + head;
                float score = 0.0f, dprobability = 0.0f;
                for (int column = 0; column < head_size; column++) {
                    score += queries[lane * stride + column] * keys[place * head_size + column];
                    dprobability += derivatives[lane * stride + column] * values[place * head_size + column];
                }
                const float factor = acts(mask) ? factor_of(mask, (unsigned long long)number * mask_stride +
                                                                      first_row + place)
                                                : 1.0f;
                probability = expf(score * scale - log_sums[number]);
                dscore = probability * (dprobability * factor - deltas[number]) * scale;
                probability *= factor;
            }
            for (int other = 0; other < count; other++) {
                const float value_share = from_lane(probability, other);
                const float key_share = from_lane(dscore, other);
#pragma unroll
                for (int chunk = 0; chunk < CHUNKS; chunk++)
                    if (lane + WARP * chunk < head_size) {
                        value_out[row][chunk] += value_share * derivatives[other * stride + lane + WARP * chunk];
                        key_out[row][chunk] += key_share * queries[other * stride + lane + WARP * chunk];
                    }
            }
        }
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        const int place = warp_number() * ROWS + row;
        if (first_row + place >= length)
            continue;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            if (lane + WARP * chunk < head_size) {
                const long long out = head_start + (first_row + place) * width + lane + WARP * chunk;
                store(&dkey[out], key_out[row][chunk]);
                store(&dvalue[out], value_out[row][chunk]);
            }
    }
}
ATTENTION_DECLARED(attention_backward_key)
#endif

#undef ATTENTION_KERNEL
#undef ATTENTION_DECLARED
#undef ATTENTION_FUNCTION
