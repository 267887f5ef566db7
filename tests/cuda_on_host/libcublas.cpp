// What libbert calls of cuBLAS, in plain loops over the host's memory.

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

#include <unistd.h>

#include "sixteen_bits.h"

namespace {

// cudaDataType_t, cublasOperation_t, cublasComputeType_t.
constexpr int R_32F = 0, R_16F = 2, R_16BF = 14;
constexpr int NOT_TRANSPOSED = 0;
constexpr int COMPUTE_32F = 68;

float at(const void *values, int type, size_t place)
{
    if (type == R_32F)
        return static_cast<const float *>(values)[place];
    if (type == R_16F)
        return to_float(static_cast<const float16 *>(values)[place]);
    return to_float(static_cast<const bfloat16 *>(values)[place]);
}

void put(void *values, int type, size_t place, float value)
{
    if (type == R_32F)
        static_cast<float *>(values)[place] = value;
    else if (type == R_16F)
        store(&static_cast<float16 *>(values)[place], value);
    else
        store(&static_cast<bfloat16 *>(values)[place], value);
}

// Products that are under way, in the process that began them: a forked child has none of its threads.
std::atomic<int> inside;
pid_t owner;

void goes_away()
{
    if (getpid() == owner && inside != 0) {
        std::fprintf(stderr, "emulated card: a product is under way while cuBLAS goes away\n");
        std::abort();
    }
}

// As cuBLAS does, gets ready at its first product: that takes a while, and then it has a function of its own for the end of
// the process.
void get_ready()
{
    owner = getpid();
    std::atexit(goes_away);
    usleep(20000);
}

struct Inside {
    Inside() { inside++; }
    ~Inside() { inside--; }
};

} // namespace

extern "C" {

int cublasCreate_v2(void **handle)
{
    *handle = (void *)(uintptr_t)0x4000;
    return 0;
}

int cublasSetStream_v2(void *, void *) { return 0; }

// C = alpha op(A) op(B) + beta C, columns one after another, op(A) of m rows and k columns.
int cublasGemmEx(void *, int transa, int transb, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda,
                 const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute, int)
{
    Inside here;
    static std::once_flag ready;
    std::call_once(ready, get_ready);
    if (m < 0 || n < 0 || k < 0 || compute != COMPUTE_32F || lda < (transa == NOT_TRANSPOSED ? m : k) ||
        ldb < (transb == NOT_TRANSPOSED ? k : n) || ldc < m)
        return 7;
    for (int type : {a_type, b_type, c_type})
        if (type != R_32F && type != R_16F && type != R_16BF)
            return 15;
    if (a_type != b_type || (c_type != a_type && c_type != R_32F))
        return 15;
    float factor = *static_cast<const float *>(alpha), kept = *static_cast<const float *>(beta);
    // op(A) with each row's numbers side by side, so that the loop below is one the compiler makes wide.
    std::vector<float> rows((size_t)m * k), column(k);
    for (int row = 0; row < m; row++)
        for (int inner = 0; inner < k; inner++)
            rows[(size_t)row * k + inner] =
                at(a, a_type, transa == NOT_TRANSPOSED ? (size_t)inner * lda + row : (size_t)row * lda + inner);
    for (int j = 0; j < n; j++) {
        for (int inner = 0; inner < k; inner++)
            column[inner] =
                at(b, b_type, transb == NOT_TRANSPOSED ? (size_t)j * ldb + inner : (size_t)inner * ldb + j);
        for (int i = 0; i < m; i++) {
            const float *row = &rows[(size_t)i * k];
            float sums[8] = {};
            int inner = 0;
            for (; inner + 8 <= k; inner += 8)
                for (int lane = 0; lane < 8; lane++)
                    sums[lane] += row[inner + lane] * column[inner + lane];
            float sum = 0;
            for (; inner < k; inner++)
                sum += row[inner] * column[inner];
            for (float part : sums)
                sum += part;
            size_t place = (size_t)j * ldc + i;
            // With beta 0 what is there isn't read.
            put(c, c_type, place, factor * sum + (kept == 0 ? 0 : kept * at(c, c_type, place)));
        }
    }
    return 0;
}

} // extern "C"
