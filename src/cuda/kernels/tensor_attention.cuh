// Attention over packed sequences by the tensor cores, for one type of 16 bits and one range of head sizes: included for
// each, with HEAD the columns that a head is filled up to with zeros. Head sizes are multiples of 8.
//
// As in attention.cuh scores aren't kept, and nothing is added to from several blocks. A block has TENSOR_ROWS rows of one
// sequence, a warp 16 of them; the other side's rows go through shared memory, TENSOR_ROWS at a time. Scores are products
// of 16 x 16 by 16 x 8 numbers (common.cuh says which lane has which), and stand in the registers in the order in which
// the next product reads them (Dao, "FlashAttention-2", 2023). They are rounded to the states' type there, sums aren't.

#define TENSOR_KERNEL(name) KERNEL(JOIN(JOIN(name, HEAD), SUFFIX))
#define TENSOR_DECLARED(name) DECLARED(JOIN(JOIN(name, HEAD), SUFFIX))
#define TENSOR_FUNCTION(name) JOIN(JOIN(name, HEAD), SUFFIX)

// Numbers from one row to the next in shared memory: the same columns of 8 rows lie in different banks.
#define TENSOR_STRIDE (HEAD + 8)

// Copies a head's columns of `count` rows into shared memory, with zeros around them; all threads of the block together.
__device__ inline void TENSOR_FUNCTION(load_tile)(real *out, const real *rows, long long width, int count, int head_size)
{
    constexpr int PIECES = HEAD / 8;
    for (int place = threadIdx.x; place < TENSOR_ROWS * PIECES; place += blockDim.x) {
        const int row = place / PIECES, column = place % PIECES * 8;
        uint4 piece = {0, 0, 0, 0};
        if (row < count && column < head_size)
            piece = *reinterpret_cast<const uint4 *>(rows + row * width + column);
        *reinterpret_cast<uint4 *>(out + row * TENSOR_STRIDE + column) = piece;
    }
}

// A warp's 16 rows as left sides of products.
__device__ inline void TENSOR_FUNCTION(left_sides)(unsigned (&out)[HEAD / 16][4], const real *rows)
{
    const int group = lane_number() / 4, pair = 2 * (lane_number() % 4);
#pragma unroll
    for (int step = 0; step < HEAD / 16; step++) {
        const real *corner = rows + group * TENSOR_STRIDE + 16 * step + pair;
        out[step][0] = two_numbers(corner);
        out[step][1] = two_numbers(corner + 8 * TENSOR_STRIDE);
        out[step][2] = two_numbers(corner + 8);
        out[step][3] = two_numbers(corner + 8 * TENSOR_STRIDE + 8);
    }
}

// out = left · rowsᵀ for 8 rows.
__device__ inline void TENSOR_FUNCTION(scores_of)(float (&out)[4], const unsigned (&left)[HEAD / 16][4], const real *rows)
{
    const real *corner = rows + lane_number() / 4 * TENSOR_STRIDE + 2 * (lane_number() % 4);
    out[0] = out[1] = out[2] = out[3] = 0.0f;
#pragma unroll
    for (int step = 0; step < HEAD / 16; step++)
        multiply_add<real>(out, left[step], two_numbers(corner + 16 * step), two_numbers(corner + 16 * step + 8));
}

// out += shares · rows for 16 rows; the shares of the first 8 of them stand in `first`, of the others in `second`.
__device__ inline void TENSOR_FUNCTION(add_rows)(float (&out)[HEAD / 8][4], const float (&first)[4],
                                                 const float (&second)[4], const real *rows)
{
    const unsigned left[4] = {two_rounded<real>(first[0], first[1]), two_rounded<real>(first[2], first[3]),
                              two_rounded<real>(second[0], second[1]), two_rounded<real>(second[2], second[3])};
    const real *row = rows + lane_number() % 16 * TENSOR_STRIDE + lane_number() / 16 * 8;
#pragma unroll
    for (int step = 0; step < HEAD / 16; step++) {
        unsigned right[4];
        load_transposed(right, row + 16 * step);
        multiply_add<real>(out[2 * step], left, right[0], right[1]);
        multiply_add<real>(out[2 * step + 1], left, right[2], right[3]);
    }
}

// Stores a warp's 16 rows, of which there are `count`, times `share` each.
__device__ inline void TENSOR_FUNCTION(store_rows)(real *out, long long width, int count, int head_size,
                                                   const float (&rows)[HEAD / 8][4], float first_share,
                                                   float second_share)
{
    const int group = lane_number() / 4, pair = 2 * (lane_number() % 4);
#pragma unroll
    for (int step = 0; step < HEAD / 8; step++) {
        if (8 * step >= head_size)
            continue;
        real *place = out + group * width + 8 * step + pair;
        if (group < count)
            store_two(place, two_rounded<real>(rows[step][0] * first_share, rows[step][1] * first_share));
        if (group + 8 < count)
            store_two(place + 8 * width, two_rounded<real>(rows[step][2] * second_share, rows[step][3] * second_share));
    }
}

// context = dropout(softmax(scale Q Kᵀ)) V.
TENSOR_KERNEL(tensor_attention_forward)(const real *query, const real *key, const real *value, const int *offsets,
                                        const int *tiles, Mask mask, int mask_stride, float scale, real *context,
                                        float *log_sums, int heads, int head_size)
{
    SHARED_ARRAY(real, keys, TENSOR_ROWS * TENSOR_STRIDE);
    SHARED_ARRAY(real, values, TENSOR_ROWS * TENSOR_STRIDE);
    const int group = lane_number() / 4, pair = 2 * (lane_number() % 4);
    const auto [head, first_row, length, width, start, head_start] = attention_block(offsets, tiles, heads, head_size);
    // This warp's rows, and how many of them there are.
    const int row = first_row + 16 * warp_number(), rows = min(16, length - row);
    TENSOR_FUNCTION(load_tile)(keys, query + head_start + first_row * width, width, length - first_row, head_size);
    __syncthreads();
    unsigned queries[HEAD / 16][4];
    TENSOR_FUNCTION(left_sides)(queries, keys + 16 * warp_number() * TENSOR_STRIDE);
    float out[HEAD / 8][4];
    clear(out);
    // Of rows `group` and `group + 8`: the highest score so far, in the logarithm of two, and this lane's part of the sum.
    float most[2] = {-INFINITY, -INFINITY}, sums[2] = {0.0f, 0.0f};
    for (int first_key = 0; first_key < length; first_key += TENSOR_ROWS) {
        const int count = min(TENSOR_ROWS, length - first_key);
        __syncthreads();
        TENSOR_FUNCTION(load_tile)(keys, key + head_start + first_key * width, width, count, head_size);
        TENSOR_FUNCTION(load_tile)(values, value + head_start + first_key * width, width, count, head_size);
        __syncthreads();
        if (rows <= 0)
            continue;
        float scores[TENSOR_ROWS / 8][4];
        float highest[2] = {most[0], most[1]};
#pragma unroll
        for (int step = 0; step < TENSOR_ROWS / 8; step++) {
            if (8 * step < count)
                TENSOR_FUNCTION(scores_of)(scores[step], queries, keys + 8 * step * TENSOR_STRIDE);
#pragma unroll
            for (int place = 0; place < 4; place++) {
                const bool is_inside = 8 * step + pair + place % 2 < count;
                const float score = is_inside ? scores[step][place] * (scale * LOG2_E) : -INFINITY;
                scores[step][place] = score;
                highest[place / 2] = score > highest[place / 2] ? score : highest[place / 2];
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            highest[half] = highest_of_four(highest[half]);
            const float shrink = power_of_two(most[half] - highest[half]);
            most[half] = highest[half];
            sums[half] *= shrink;
#pragma unroll
            for (int step = 0; step < HEAD / 8; step++) {
                out[step][2 * half] *= shrink;
                out[step][2 * half + 1] *= shrink;
            }
        }
        unsigned kept = ~0u;
        if (acts(mask))
            kept = kept_of_rows(mask, mask_stride, (start + row) * heads + head, heads, first_key);
#pragma unroll
        for (int step = 0; step < TENSOR_ROWS / 8; step++) {
            // All lanes take part.
            const unsigned bits = acts(mask) ? bits_from_lane(kept, lane_number() / 4 * 4 + step % 4) : kept;
#pragma unroll
            for (int place = 0; place < 4; place++) {
                const float probability = power_of_two(scores[step][place] - most[place / 2]);
                sums[place / 2] += probability;
                scores[step][place] = kept_bit(bits, place / 2, step / 4, pair + place % 2) ? probability : 0.0f;
            }
        }
#pragma unroll
        for (int step = 0; step < TENSOR_ROWS / 16; step++)
            if (16 * step < count)
                TENSOR_FUNCTION(add_rows)(out, scores[2 * step], scores[2 * step + 1],
                                          values + 16 * step * TENSOR_STRIDE);
    }
    if (rows <= 0)
        return;
    const float factor = acts(mask) ? mask.scale : 1.0f;
    for (int half = 0; half < 2; half++) {
        sums[half] = sum_of_four(sums[half]);
        if (pair == 0 && group + 8 * half < rows)
            log_sums[(start + row + group + 8 * half) * heads + head] = most[half] / LOG2_E + logf(sums[half]);
    }
    TENSOR_FUNCTION(store_rows)(context + head_start + row * width, width, rows, head_size, out, factor / sums[0],
                                factor / sums[1]);
}
TENSOR_DECLARED(tensor_attention_forward)

#ifndef FORWARD_ONLY
// The derivative by the queries. `deltas` is of attention_deltas.
TENSOR_KERNEL(tensor_attention_backward_query)(const real *query, const real *key, const real *value,
                                               const real *dcontext, const float *log_sums, const float *deltas,
                                               const int *offsets, const int *tiles, Mask mask, int mask_stride,
                                               float scale, real *dquery, int heads, int head_size)
{
    SHARED_ARRAY(real, keys, TENSOR_ROWS * TENSOR_STRIDE);
    SHARED_ARRAY(real, values, TENSOR_ROWS * TENSOR_STRIDE);
    const int group = lane_number() / 4, pair = 2 * (lane_number() % 4);
    const auto [head, first_row, length, width, start, head_start] = attention_block(offsets, tiles, heads, head_size);
    const int row = first_row + 16 * warp_number(), rows = min(16, length - row);
    TENSOR_FUNCTION(load_tile)(keys, query + head_start + first_row * width, width, length - first_row, head_size);
    TENSOR_FUNCTION(load_tile)(values, dcontext + head_start + first_row * width, width, length - first_row, head_size);
    __syncthreads();
    unsigned queries[HEAD / 16][4], derivatives[HEAD / 16][4];
    TENSOR_FUNCTION(left_sides)(queries, keys + 16 * warp_number() * TENSOR_STRIDE);
    TENSOR_FUNCTION(left_sides)(derivatives, values + 16 * warp_number() * TENSOR_STRIDE);
    float log_sum[2] = {0.0f, 0.0f}, delta[2] = {0.0f, 0.0f};
    for (int half = 0; half < 2; half++)
        if (group + 8 * half < rows) {
            const long long number = (start + row + group + 8 * half) * heads + head;
            log_sum[half] = log_sums[number] * LOG2_E;
            delta[half] = deltas[number];
        }
    float out[HEAD / 8][4];
    clear(out);
    for (int first_key = 0; first_key < length; first_key += TENSOR_ROWS) {
        const int count = min(TENSOR_ROWS, length - first_key);
        __syncthreads();
        TENSOR_FUNCTION(load_tile)(keys, key + head_start + first_key * width, width, count, head_size);
        TENSOR_FUNCTION(load_tile)(values, value + head_start + first_key * width, width, count, head_size);
        __syncthreads();
        if (rows <= 0)
            continue;
        unsigned kept = ~0u;
        if (acts(mask))
            kept = kept_of_rows(mask, mask_stride, (start + row) * heads + head, heads, first_key);
        const float factor = acts(mask) ? mask.scale : 1.0f;
#pragma unroll
        for (int step = 0; step < TENSOR_ROWS / 16; step++) {
            if (16 * step >= count)
                continue;
            float dscores[2][4];
#pragma unroll
            for (int part = 0; part < 2; part++) {
                const int place_of_part = (2 * step + part) * 8 * TENSOR_STRIDE;
                float scores[4], dprobabilities[4];
                TENSOR_FUNCTION(scores_of)(scores, queries, keys + place_of_part);
                TENSOR_FUNCTION(scores_of)(dprobabilities, derivatives, values + place_of_part);
                const unsigned bits =
                    acts(mask) ? bits_from_lane(kept, lane_number() / 4 * 4 + (2 * step + part) % 4) : kept;
#pragma unroll
                for (int place = 0; place < 4; place++) {
                    const bool is_kept = kept_bit(bits, place / 2, (2 * step + part) / 4, pair + place % 2);
                    const bool is_inside = 8 * (2 * step + part) + pair + place % 2 < count;
                    const float probability = power_of_two(scores[place] * (scale * LOG2_E) - log_sum[place / 2]);
                    const float dprobability = is_kept ? dprobabilities[place] * factor : 0.0f;
                    dscores[part][place] =
                        is_inside ? probability * (dprobability - delta[place / 2]) * scale : 0.0f;
                }
            }
            TENSOR_FUNCTION(add_rows)(out, dscores[0], dscores[1], keys + 16 * step * TENSOR_STRIDE);
        }
    }
    if (rows > 0)
        TENSOR_FUNCTION(store_rows)(dquery + head_start + row * width, width, rows, head_size, out, 1.0f, 1.0f);
}
TENSOR_DECLARED(tensor_attention_backward_query)

// The derivatives by the keys and values: a warp has rows of these, and the columns of its products are queries.
TENSOR_KERNEL(tensor_attention_backward_key)(const real *query, const real *key, const real *value,
                                             const real *dcontext, const float *log_sums, const float *deltas,
                                             const int *offsets, const int *tiles, Mask mask, int mask_stride,
                                             float scale, real *dkey, real *dvalue, int heads, int head_size)
{
    SHARED_ARRAY(real, queries, TENSOR_ROWS * TENSOR_STRIDE);
    SHARED_ARRAY(real, derivatives, TENSOR_ROWS * TENSOR_STRIDE);
    SHARED_ARRAY(float, log_sums_of_tile, TENSOR_ROWS);
    SHARED_ARRAY(float, deltas_of_tile, TENSOR_ROWS);
    const int group = lane_number() / 4, pair = 2 * (lane_number() % 4);
    const auto [head, first_row, length, width, start, head_start] = attention_block(offsets, tiles, heads, head_size);
    const int row = first_row + 16 * warp_number(), rows = min(16, length - row);
    TENSOR_FUNCTION(load_tile)(queries, key + head_start + first_row * width, width, length - first_row, head_size);
    TENSOR_FUNCTION(load_tile)(derivatives, value + head_start + first_row * width, width, length - first_row,
                               head_size);
    __syncthreads();
    unsigned keys[HEAD / 16][4], values[HEAD / 16][4];
    TENSOR_FUNCTION(left_sides)(keys, queries + 16 * warp_number() * TENSOR_STRIDE);
    TENSOR_FUNCTION(left_sides)(values, derivatives + 16 * warp_number() * TENSOR_STRIDE);
    float key_out[HEAD / 8][4], value_out[HEAD / 8][4];
    clear(key_out);
    clear(value_out);
    for (int first_query = 0; first_query < length; first_query += TENSOR_ROWS) {
        const int count = min(TENSOR_ROWS, length - first_query);
        __syncthreads();
        TENSOR_FUNCTION(load_tile)(queries, query + head_start + first_query * width, width, count, head_size);
        TENSOR_FUNCTION(load_tile)(derivatives, dcontext + head_start + first_query * width, width, count, head_size);
        for (int place = threadIdx.x; place < TENSOR_ROWS; place += blockDim.x) {
            const long long number = (start + first_query + place) * heads + head;
            log_sums_of_tile[place] = place < count ? log_sums[number] * LOG2_E : 0.0f;
            deltas_of_tile[place] = place < count ? deltas[number] : 0.0f;
        }
        __syncthreads();
        if (rows <= 0)
            continue;
        // Eight keys of one query are one block of random words: here a lane has two queries' both blocks.
        unsigned kept = ~0u;
        if (acts(mask))
            kept = kept_of_columns(mask, mask_stride, (start + first_query) * heads + head, heads, row);
        const float factor = acts(mask) ? mask.scale : 1.0f;
#pragma unroll
        for (int step = 0; step < TENSOR_ROWS / 16; step++) {
            if (16 * step >= count)
                continue;
            float probabilities[2][4], dscores[2][4];
#pragma unroll
            for (int part = 0; part < 2; part++) {
                const int first_column = (2 * step + part) * 8;
                float scores[4], dprobabilities[4];
                TENSOR_FUNCTION(scores_of)(scores, keys, queries + first_column * TENSOR_STRIDE);
                TENSOR_FUNCTION(scores_of)(dprobabilities, values, derivatives + first_column * TENSOR_STRIDE);
#pragma unroll
                for (int side = 0; side < 2; side++) {
                    const int column = first_column + pair + side;
                    const unsigned bits = acts(mask) ? bits_from_lane(kept, column % WARP) : kept;
                    const float log_sum = log_sums_of_tile[column], delta = deltas_of_tile[column];
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const int place = 2 * half + side;
                        const bool is_kept = kept_bit(bits, half, column / WARP, group);
                        const float probability =
                            column < count ? power_of_two(scores[place] * (scale * LOG2_E) - log_sum) : 0.0f;
                        const float dprobability = is_kept ? dprobabilities[place] * factor : 0.0f;
                        probabilities[part][place] = is_kept ? probability * factor : 0.0f;
                        dscores[part][place] = probability * (dprobability - delta) * scale;
                    }
                }
            }
            TENSOR_FUNCTION(add_rows)(value_out, probabilities[0], probabilities[1],
                                      derivatives + 16 * step * TENSOR_STRIDE);
            TENSOR_FUNCTION(add_rows)(key_out, dscores[0], dscores[1], queries + 16 * step * TENSOR_STRIDE);
        }
    }
    if (rows > 0) {
        TENSOR_FUNCTION(store_rows)(dkey + head_start + row * width, width, rows, head_size, key_out, 1.0f, 1.0f);
        TENSOR_FUNCTION(store_rows)(dvalue + head_start + row * width, width, rows, head_size, value_out, 1.0f, 1.0f);
    }
}
TENSOR_DECLARED(tensor_attention_backward_key)
#endif

#undef TENSOR_STRIDE
#undef TENSOR_FUNCTION
#undef TENSOR_DECLARED
#undef TENSOR_KERNEL
