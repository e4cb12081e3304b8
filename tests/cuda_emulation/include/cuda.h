// CUDA C for g++: the few words of it that the compiled kernels use.
// TVM's source includes this file under NVIDIA's name.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "emulated.h"

#define ABC_EMULATED 1
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __shared__ static  // one block runs at a time
#define __align__(n) __attribute__((aligned(n)))

#define threadIdx (abc_thread->index)
#define blockIdx abc_block
#define blockDim abc_block_size
#define gridDim abc_grid_size

struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::max;
using std::min;
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
template <class T> inline T __ldg(const T* p) { return *p; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __expf(float x) { return std::exp(x); }
inline float __int_as_float(int x) { float f; std::memcpy(&f, &x, 4); return f; }
inline float __uint_as_float(unsigned x) { float f; std::memcpy(&f, &x, 4); return f; }

inline void __syncthreads() { abc_wait_for_block(); }
inline void __syncwarp() { abc_wait_for_warp(); }

// Shows a register to the warp, lets `read` look at all lanes, and goes on when all have looked.
template <class Read> inline auto abc_exchange(const unsigned* mine, int count, Read read) {
  Thread* self = abc_thread;
  for (int i = 0; i < count; ++i) self->warp->lanes[self->lane][i] = mine[i];
  abc_wait_for_warp();
  auto result = read(self->warp->lanes, self->lane);
  abc_wait_for_warp();
  return result;
}

inline unsigned __shfl_xor_sync(unsigned, unsigned value, int mask) {
  return abc_exchange(&value, 1, [=](auto& lanes, unsigned lane) { return lanes[lane ^ mask][0]; });
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  unsigned value = predicate != 0;
  return abc_exchange(&value, 1, [](auto& lanes, unsigned) {
    unsigned word = 0;
    for (int i = 0; i < 32; ++i) word |= lanes[i][0] << i;
    return word;
  });
}

// The functions of `ptx.cuh`, from the fragment layouts of NVIDIA's PTX ISA manual (mma.m16n8k256,
// mma.m8n8k128; .b1). A fragment's place is worked out here element by element, on purpose in
// another way than in the kernels.
inline void abc_mma_rows(const unsigned (&lanes)[32][16], bool xored, int k_bits, unsigned lane,
                         int rows, int* c) {
  auto a_bit = [&](int row, int k) {
    int reg = (k / 128) * (rows / 8) + row / 8;
    return lanes[(row % 8) * 4 + (k % 128) / 32][reg] >> (k % 32) & 1;
  };
  auto b_bit = [&](int k, int column) {
    return lanes[column * 4 + (k % 128) / 32][4 + k / 128] >> (k % 32) & 1;
  };
  for (int part = 0; part < rows / 4; ++part) {
    int row = lane / 4 + 8 * (part / 2), column = (lane % 4) * 2 + part % 2;
    for (int k = 0; k < k_bits; ++k) {
      unsigned a = a_bit(row, k), b = b_bit(k, column);
      c[part] += xored ? a ^ b : a & b;
    }
  }
}

inline void abc_mma_m16n8k256_and(int* c, const unsigned* a, const unsigned* b) {
  unsigned mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  abc_exchange(mine, 6, [&](auto& lanes, unsigned lane) {
    abc_mma_rows(lanes, false, 256, lane, 16, c);
    return 0;
  });
}

inline void abc_mma_m8n8k128_xor(int* c, unsigned a, unsigned b) {
  unsigned mine[5] = {a, 0, 0, 0, b};
  abc_exchange(mine, 5, [&](auto& lanes, unsigned lane) {
    abc_mma_rows(lanes, true, 128, lane, 8, c);
    return 0;
  });
}

// mma.m16n8k32 and mma.m8n8k16 on .s8: row 16 bytes a register pair apart, as the manual has it.
inline void abc_mma_bytes(const unsigned (&lanes)[32][16], int k_bytes, unsigned lane, int rows,
                          int* c) {
  auto byte = [&](int holder, int reg, int n) {
    return static_cast<int>(static_cast<signed char>(lanes[holder][reg] >> (8 * n)));
  };
  for (int part = 0; part < rows / 4; ++part) {
    int row = lane / 4 + 8 * (part / 2), column = (lane % 4) * 2 + part % 2;
    for (int k = 0; k < k_bytes; ++k) {
      int quad = k % 16 / 4, high = k / 16;
      int a = byte(row % 8 * 4 + quad, high * (rows / 8) + row / 8, k % 4);
      c[part] += a * byte(column * 4 + quad, 4 + high, k % 4);
    }
  }
}

inline void abc_mma_m16n8k32_s8(int* c, const unsigned* a, const unsigned* b) {
  unsigned mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  abc_exchange(mine, 6, [&](auto& lanes, unsigned lane) {
    abc_mma_bytes(lanes, 32, lane, 16, c);
    return 0;
  });
}

inline void abc_mma_m8n8k16_s8(int* c, unsigned a, unsigned b) {
  unsigned mine[5] = {a, 0, 0, 0, b};
  abc_exchange(mine, 5, [&](auto& lanes, unsigned lane) {
    abc_mma_bytes(lanes, 16, lane, 8, c);
    return 0;
  });
}

inline int abc_dp4a_s8(int sum, unsigned a, unsigned b) {
  for (int n = 0; n < 32; n += 8)
    sum += static_cast<signed char>(a >> n) * static_cast<signed char>(b >> n);
  return sum;
}

// cp.async: nothing arrives before it is waited for; what is not read is filled with zeros.
template <int BYTES> inline void abc_copy_async(void* to, const void* from, bool valid) {
  if (reinterpret_cast<std::uintptr_t>(to) % BYTES ||
      (valid && reinterpret_cast<std::uintptr_t>(from) % BYTES))
    __builtin_trap();
  abc_thread->issued.push_back({to, from, valid ? BYTES : 0u, BYTES});
}
inline void abc_copy_commit() {
  abc_thread->groups.emplace_back(std::move(abc_thread->issued));
  abc_thread->issued.clear();
}
template <int LATEST> inline void abc_copy_wait() {
  auto& groups = abc_thread->groups;
  while (groups.size() > LATEST) {
    for (const Copy& copy : groups.front()) {
      std::memset(copy.to, 0, copy.width);
      if (copy.bytes) std::memcpy(copy.to, copy.from, copy.bytes);
    }
    groups.erase(groups.begin());
  }
}
