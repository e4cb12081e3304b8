// Words made of the bits of neighbouring lanes.
#pragma once

// Bits of one pixel that four neighbouring lanes hold: their words, put together in all four.
__device__ __forceinline__ unsigned abc_quad_or(unsigned word) {
  word |= __shfl_xor_sync(0xffffffffu, word, 1);
  return word | __shfl_xor_sync(0xffffffffu, word, 2);
}
