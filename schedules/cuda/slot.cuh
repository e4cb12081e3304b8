// What a lane stores of its eight channels of a pixel.
#pragma once

// Bits of one pixel that four neighbouring lanes hold: their words, put together in all four.
__device__ __forceinline__ unsigned abc_quad_or(unsigned word) {
  word |= __shfl_xor_sync(0xffffffffu, word, 1);
  return word | __shfl_xor_sync(0xffffffffu, word, 2);
}

// Eight bytes; `to` is a multiple of eight.
__device__ __forceinline__ void abc_store8(void* to, unsigned low, unsigned high) {
  *static_cast<uint2*>(to) = make_uint2(low, high);
}
