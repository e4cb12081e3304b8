// Every PTX instruction that the kernels use, as a function, in this one place.
//
// PTX ISA, "mma" with .b1 and .s8 operands: fragments are spread over the 32 lanes of a warp. Lane
// 4 * g + t holds of A (16 rows) rows g and g + 8, of B (8 columns) column g, of both words t and
// t + 4 of k (of 32 bits, or of 4 bytes); of C, row g and g + 8, columns 2 * t and 2 * t + 1.
#pragma once
#ifndef ABC_EMULATED

// c[0..1] of row g and c[2..3] of row g + 8: += popcount(a & b), over 256 bits. sm_80 and later.
__device__ __forceinline__ void abc_mma_m16n8k256_and(int* c, const unsigned* a,
                                                      const unsigned* b) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

// c[0..1] of row g: += popcount(a ^ b), over 128 bits. sm_75 and later.
__device__ __forceinline__ void abc_mma_m8n8k128_xor(int* c, unsigned a, unsigned b) {
  asm volatile(
      "mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc "
      "{%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+r"(c[0]), "+r"(c[1])
      : "r"(a), "r"(b));
}

// c[0..1] of row g and c[2..3] of row g + 8: += a * b, over 32 signed bytes. sm_80 and later.
__device__ __forceinline__ void abc_mma_m16n8k32_s8(int* c, const unsigned* a, const unsigned* b) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

// c[0..1] of row g: += a * b, over 16 signed bytes. sm_75 and later.
__device__ __forceinline__ void abc_mma_m8n8k16_s8(int* c, unsigned a, unsigned b) {
  asm volatile(
      "mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+r"(c[0]), "+r"(c[1])
      : "r"(a), "r"(b));
}

// sum + a * b, over 4 signed bytes. sm_61 and later.
__device__ __forceinline__ int abc_dp4a_s8(int sum, unsigned a, unsigned b) {
  asm("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
}

// Copies BYTES (4, 8 or 16) from global to shared memory, or zeros where not `valid`.
template <int BYTES>
__device__ __forceinline__ void abc_copy_async(void* to, const void* from, bool valid) {
#if __CUDA_ARCH__ >= 800
  unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to));
  int size = valid ? BYTES : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
               :
               : "r"(at), "l"(from), "n"(BYTES), "r"(size)
               : "memory");
#else
  if (BYTES == 16) {
    *static_cast<uint4*>(to) =
        valid ? *static_cast<const uint4*>(from) : make_uint4(0u, 0u, 0u, 0u);
  } else if (BYTES == 8) {
    *static_cast<uint2*>(to) = valid ? *static_cast<const uint2*>(from) : make_uint2(0u, 0u);
  } else {
    *static_cast<unsigned*>(to) = valid ? *static_cast<const unsigned*>(from) : 0u;
  }
#endif
}

// Ends a group of copies.
__device__ __forceinline__ void abc_copy_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all groups but the LATEST.
template <int LATEST>
__device__ __forceinline__ void abc_copy_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(LATEST) : "memory");
#endif
}
#endif
