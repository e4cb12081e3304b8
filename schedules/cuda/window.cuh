// The reduction of a convolution as an implicit matrix product: pixels by output channels.
//
// A word is 32 channels as bits, 4 as bytes, or one float.
//
// A block of threads computes PIXELS * 8 pixels a warp, WARPS_P warps beside one another, times
// BLOCKS * WARPS_O blocks of 32 output channels. It walks the flattened reduction (kh, kw, word) in
// steps of 8 words: activations and weights of the next step are copied to shared memory while those
// of this one are multiplied. Padding and the end of the reduction are zeros there.
//
// Where M * P sums of a pixel are more than registers, the M weight planes come in ROUNDS of M each (M
// is that number from here on), and the sums of a round go to local memory.
//
// Lane 4 * g + t of a warp owns, of pixels g, g + 8, g + 16 ..., channels 8 * t to 8 * t + 7 of each
// block: sums[PIXELS][BLOCKS][ROUNDS * M][P][8]. The layout is that of the tensor cores' results, where
// weights are packed so that column 2 * t + e of product j is channel 8 * t + 2 * j + e.
#pragma once

constexpr int ABC_STEP = 8;             // words of the reduction in one step
constexpr int ABC_ROW = ABC_STEP + 4;   // words from pixel to pixel: no two on the same banks
constexpr int ABC_LANES = 32;           // channels of a block

template <class S>
struct AbcTile {
  static constexpr int THREADS = 32 * S::WARPS_P * S::WARPS_O;
  static constexpr int PIXELS = 8 * S::PIXELS * S::WARPS_P;  // of a block of threads
  static constexpr int BLOCKS = S::BLOCKS * S::WARPS_O;
  static constexpr int DEPTH = S::KH * S::KW * S::C;
  static constexpr int STEPS = (DEPTH + ABC_STEP - 1) / ABC_STEP;
  static constexpr int ROWS = PIXELS * S::P;
  static constexpr int VECTOR = S::C % 4 == 0 ? 4 : S::C % 2 == 0 ? 2 : 1;
  static constexpr int PARTS = ABC_STEP / VECTOR;  // copies of one row
  static constexpr int PASS = THREADS / PARTS;     // rows that all threads copy at once
  static constexpr int PASSES = (ROWS + PASS - 1) / PASS;
  static constexpr int SLICE = ABC_STEP * S::M * ABC_LANES;  // weights of one step, of one block
  static constexpr int ROUND = STEPS * SLICE + S::TAIL * S::M * ABC_LANES;
  static constexpr int STRIDE = S::ROUNDS * ROUND;
  static constexpr int SUMS = S::PIXELS * S::BLOCKS * S::M * S::P * 8;
};

// Weights of a lane: words 8 * t and up.
__device__ __forceinline__ void abc_load8(unsigned* to, const unsigned* from) {
  const uint4 low = *reinterpret_cast<const uint4*>(from);
  const uint4 high = *reinterpret_cast<const uint4*>(from + 4);
  to[0] = low.x; to[1] = low.y; to[2] = low.z; to[3] = low.w;
  to[4] = high.x; to[5] = high.y; to[6] = high.z; to[7] = high.w;
}

__device__ __forceinline__ void abc_load4(unsigned* to, const unsigned* from) {
  const uint4 all = *reinterpret_cast<const uint4*>(from);
  to[0] = all.x; to[1] = all.y; to[2] = all.z; to[3] = all.w;
}

// Differing bits: xor and popc on ordinary cores.
struct AbcBits {
  using Sum = int;
  static __device__ __forceinline__ void add(int& sum, unsigned a, unsigned w) {
    sum += __popc(a ^ w);
  }
};

// Products of four bytes: dp4a on ordinary cores.
struct AbcDots {
  using Sum = int;
  static __device__ __forceinline__ void add(int& sum, unsigned a, unsigned w) {
    sum = abc_dp4a_s8(sum, a, w);
  }
};

// Products of float32.
struct AbcFloats {
  using Sum = float;
  static __device__ __forceinline__ void add(float& sum, unsigned a, unsigned w) {
    sum = __fmaf_rn(__uint_as_float(a), __uint_as_float(w), sum);
  }
};

// One step on ordinary cores. Weights are [8][M][32] a block.
template <class S, class Op>
struct AbcCores : Op {
  using Sum = typename Op::Sum;
  static __device__ __forceinline__ void step(const unsigned* pixels, const unsigned* weights,
                                              int lane, Sum* sums) {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int k = 0; k < ABC_STEP; k += 4) {
      unsigned a[S::PIXELS * S::P][4];
#pragma unroll
      for (int i = 0; i < S::PIXELS; ++i)
#pragma unroll
        for (int p = 0; p < S::P; ++p)
          abc_load4(a[i * S::P + p],
                    pixels + (p * AbcTile<S>::PIXELS + i * 8 + g) * ABC_ROW + k);
#pragma unroll
      for (int z = 0; z < 4; ++z)
#pragma unroll
        for (int o = 0; o < S::BLOCKS; ++o)
#pragma unroll
          for (int m = 0; m < S::M; ++m) {
            unsigned w[8];
            abc_load8(w, weights + o * AbcTile<S>::SLICE + ((k + z) * S::M + m) * ABC_LANES + t * 8);
#pragma unroll
            for (int i = 0; i < S::PIXELS; ++i)
#pragma unroll
              for (int p = 0; p < S::P; ++p)
#pragma unroll
                for (int c = 0; c < 8; ++c)
                  Op::add(sums[(((i * S::BLOCKS + o) * S::M + m) * S::P + p) * 8 + c],
                          a[i * S::P + p][z], w[c]);
          }
    }
  }
  static __device__ __forceinline__ void finish(const unsigned*, int, Sum*) {}
};

// The multiplication of one pair of fragments, 16 pixels by 8 channels by 256 bits or 32 bytes.
struct AbcAnd {
  static constexpr bool COUNTS_OF_BOTH = true;
  static __device__ __forceinline__ void multiply(int* c, const unsigned* a, const unsigned* b) {
    abc_mma_m16n8k256_and(c, a, b);
  }
};
struct AbcXor {
  static constexpr bool COUNTS_OF_BOTH = false;
  static __device__ __forceinline__ void multiply(int* c, const unsigned* a, const unsigned* b) {
    abc_mma_m8n8k128_xor(c, a[0], b[0]);
    abc_mma_m8n8k128_xor(c, a[2], b[1]);
    abc_mma_m8n8k128_xor(c + 2, a[1], b[0]);
    abc_mma_m8n8k128_xor(c + 2, a[3], b[1]);
  }
};
struct AbcBytes {
  static constexpr bool COUNTS_OF_BOTH = false;
  static __device__ __forceinline__ void multiply(int* c, const unsigned* a, const unsigned* b) {
    abc_mma_m16n8k32_s8(c, a, b);
  }
};
struct AbcBytesTuring {
  static constexpr bool COUNTS_OF_BOTH = false;
  static __device__ __forceinline__ void multiply(int* c, const unsigned* a, const unsigned* b) {
    abc_mma_m8n8k16_s8(c, a[0], b[0]);
    abc_mma_m8n8k16_s8(c, a[2], b[1]);
    abc_mma_m8n8k16_s8(c + 2, a[1], b[0]);
    abc_mma_m8n8k16_s8(c + 2, a[3], b[1]);
  }
};

// One step on tensor cores. Weights are [M][32 lanes][4 products][2 registers] a block. What the
// cores count of bits is |a & w|; |a ^ w| = |a| + |w| - 2 |a & w|: |a| is one more product, with
// ones for weights, and |w| is stored behind the weights.
template <class S, class Op>
struct AbcTensor {
  using Sum = int;
  static constexpr int PAIRS = S::PIXELS / 2;
  int bits_of_pixels[PAIRS * S::P * 4] = {};

  __device__ __forceinline__ void step(const unsigned* pixels, const unsigned* weights, int lane,
                                       int* sums) {
    const int g = lane / 4, t = lane % 4;
    unsigned a[PAIRS * S::P][4];
#pragma unroll
    for (int i = 0; i < PAIRS; ++i)
#pragma unroll
      for (int p = 0; p < S::P; ++p) {
        const unsigned* row = pixels + (p * AbcTile<S>::PIXELS + i * 16 + g) * ABC_ROW + t;
        unsigned* regs = a[i * S::P + p];
        regs[0] = row[0];
        regs[1] = row[8 * ABC_ROW];
        regs[2] = row[4];
        regs[3] = row[8 * ABC_ROW + 4];
        if (Op::COUNTS_OF_BOTH) {
          const unsigned ones[2] = {0xffffffffu, 0xffffffffu};
          Op::multiply(bits_of_pixels + (i * S::P + p) * 4, regs, ones);
        }
      }
#pragma unroll
    for (int o = 0; o < S::BLOCKS; ++o)
#pragma unroll
      for (int m = 0; m < S::M; ++m) {
        unsigned b[8];
        abc_load8(b, weights + o * AbcTile<S>::SLICE + m * 256 + lane * 8);
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
          for (int i = 0; i < PAIRS; ++i)
#pragma unroll
            for (int p = 0; p < S::P; ++p) {
              int* low = sums + (((2 * i * S::BLOCKS + o) * S::M + m) * S::P + p) * 8 + 2 * j;
              int* high = low + S::BLOCKS * S::M * S::P * 8;
              int c[4] = {low[0], low[1], high[0], high[1]};
              Op::multiply(c, a[i * S::P + p], b + 2 * j);
              low[0] = c[0]; low[1] = c[1]; high[0] = c[2]; high[1] = c[3];
            }
      }
  }

  // `tail` is |w| of the first block of this warp: [M][32].
  __device__ __forceinline__ void finish(const unsigned* tail, int lane, int* sums) {
    if (!Op::COUNTS_OF_BOTH) return;
    const int t = lane % 4;
#pragma unroll
    for (int o = 0; o < S::BLOCKS; ++o)
#pragma unroll
      for (int m = 0; m < S::M; ++m) {
        unsigned w[8];
        abc_load8(w, tail + o * AbcTile<S>::STRIDE + m * ABC_LANES + t * 8);
#pragma unroll
        for (int i = 0; i < S::PIXELS; ++i)
#pragma unroll
          for (int p = 0; p < S::P; ++p) {
            const int pixel = bits_of_pixels[(i / 2 * S::P + p) * 4 + i % 2 * 2];
#pragma unroll
            for (int c = 0; c < 8; ++c) {
              int& sum = sums[(((i * S::BLOCKS + o) * S::M + m) * S::P + p) * 8 + c];
              sum = pixel + static_cast<int>(w[c]) - 2 * sum;
            }
          }
      }
  }
};

// Sums of one block of threads. `data` is [B][H][W][P][G][C] words, `weights` ROUNDS times ROUND
// words for each block of channels of each group, `total` the number of pixels of the output.
template <class S, class Inner>
__device__ __forceinline__ void abc_window(const unsigned* __restrict__ data,
                                           const unsigned* __restrict__ weights, int total,
                                           typename Inner::Sum* sums) {
  using T = AbcTile<S>;
  __shared__ __align__(16) unsigned pixel_words[2][T::ROWS * ABC_ROW];
  __shared__ __align__(16) unsigned weight_words[2][T::BLOCKS * T::SLICE];
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int warp_p = warp % S::WARPS_P, warp_o = warp / S::WARPS_P;
  const int part = thread % T::PARTS, group = blockIdx.z;
  const unsigned* first = weights + (group * S::NB + blockIdx.y * T::BLOCKS) * T::STRIDE;

  // Where the rows that this thread copies begin in the image.
  int top[T::PASSES], left[T::PASSES], from[T::PASSES];
#pragma unroll
  for (int r = 0; r < T::PASSES; ++r) {
    const int row = thread / T::PARTS + r * T::PASS;
    const int plane = row / T::PIXELS;
    const int pixel = blockIdx.x * T::PIXELS + row % T::PIXELS;
    const int image = pixel / (S::OH * S::OW), at = pixel % (S::OH * S::OW);
    top[r] = row < T::ROWS && pixel < total ? at / S::OW * S::SH - S::TOP : -(1 << 28);
    left[r] = at % S::OW * S::SW - S::LEFT;
    const int y = at / S::OW * S::SH - S::TOP;
    from[r] = ((((image * S::H + y) * S::W + left[r]) * S::P + plane) * S::G + group) * S::C;
  }

  auto copy = [&](const unsigned* packed, int step, int buffer) {
    const int k = step * ABC_STEP + part * T::VECTOR;
    const int tap = k / S::C, word = k % S::C;
    const int y = tap / S::KW * S::DH, x = tap % S::KW * S::DW;
    const int offset = (y * S::W + x) * (S::P * S::G * S::C) + word;
#pragma unroll
    for (int r = 0; r < T::PASSES; ++r) {
      const int row = thread / T::PARTS + r * T::PASS;
      if (T::ROWS % T::PASS == 0 || row < T::ROWS) {
        const bool inside = k < T::DEPTH && static_cast<unsigned>(top[r] + y) < S::H &&
                            static_cast<unsigned>(left[r] + x) < S::W;
        abc_copy_async<T::VECTOR * 4>(
            pixel_words[buffer] + row * ABC_ROW + part * T::VECTOR,
            inside ? data + from[r] + offset : data, inside);
      }
    }
    constexpr int COPIES = T::SLICE / 4;  // 16 bytes each, of one block
    for (int n = thread; n < T::BLOCKS * COPIES; n += T::THREADS)
      abc_copy_async<16>(
          weight_words[buffer] + n * 4,
          packed + n / COPIES * T::STRIDE + step * T::SLICE + n % COPIES * 4, true);
    abc_copy_commit();
  };

  auto reduce = [&](const unsigned* packed, typename Inner::Sum* into) {
#pragma unroll
    for (int n = 0; n < T::SUMS; ++n) into[n] = 0;
    Inner inner;
    copy(packed, 0, 0);
    for (int step = 0; step < T::STEPS; ++step) {
      const int buffer = step % 2;
      if (step + 1 < T::STEPS) {
        copy(packed, step + 1, 1 - buffer);
        abc_copy_wait<1>();
      } else {
        abc_copy_wait<0>();
      }
      __syncthreads();
      inner.step(pixel_words[buffer] + warp_p * 8 * S::PIXELS * ABC_ROW,
                 weight_words[buffer] + warp_o * S::BLOCKS * T::SLICE, lane, into);
      __syncthreads();
    }
    inner.finish(packed + warp_o * S::BLOCKS * T::STRIDE + T::STEPS * T::SLICE, lane, into);
  };

  if (S::ROUNDS == 1) {
    reduce(first, sums);
    return;
  }
#pragma unroll 1
  for (int round = 0; round < S::ROUNDS; ++round) {
    typename Inner::Sum part[T::SUMS];
    reduce(first + round * T::ROUND, part);
    constexpr int PART = S::M * S::P * 8;
#pragma unroll
    for (int n = 0; n < T::SUMS; ++n)
      sums[n / PART * (PART * S::ROUNDS) + round * PART + n % PART] = part[n];
  }
}
