// Bits of one pixel that four neighbouring lanes hold: their words, put together in all four.
#pragma once
__device__ __forceinline__ unsigned abc_quad_or(unsigned word) {
  word |= __shfl_xor_sync(0xffffffffu, word, 1);
  return word | __shfl_xor_sync(0xffffffffu, word, 2);
}
