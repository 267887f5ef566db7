// The library's kernels for the emulated card.

#include "../../src/cuda/kernels/kernels.cu"
