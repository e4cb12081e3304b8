// ptx.cuh
// window.cuh

struct abc_bits_3_3_1_1_1_1_1_1_5_4_5_4_1_2_2_2_1_1_1_1_0_2_1_shape {
  static constexpr int KH = 3, KW = 3, SH = 1, SW = 1, DH = 1, DW = 1, TOP = 1, LEFT = 1, H = 5, W = 4, OH = 5, OW = 4, G = 1, C = 2, NB = 2, M = 2, ROUNDS = 1, P = 1, PIXELS = 2, BLOCKS = 1, WARPS_P = 1, WARPS_O = 1, TAIL = 0;
};
__device__ __forceinline__ void abc_bits_3_3_1_1_1_1_1_1_5_4_5_4_1_2_2_2_1_1_1_1_0_2_1(const unsigned* data, const unsigned* weights, int pixels,
                                       int* sums) {
  abc_window<abc_bits_3_3_1_1_1_1_1_1_5_4_5_4_1_2_2_2_1_1_1_1_0_2_1_shape, AbcCores<abc_bits_3_3_1_1_1_1_1_1_5_4_5_4_1_2_2_2_1_1_1_1_0_2_1_shape, AbcBits>>(reinterpret_cast<const unsigned*>(data),
                                    reinterpret_cast<const unsigned*>(weights), pixels, sums);
}
extern "C" __global__ void __launch_bounds__(32) main_kernel(uint* __restrict__ A_ptr, float* __restrict__ BI_ptr, float* __restrict__ K_ptr, int* __restrict__ ONE_ptr, int* __restrict__ TH_ptr, uint* __restrict__ W_ptr, float* __restrict__ crop_real_ptr, uint* __restrict__ word_one_ptr, uint* __restrict__ word_two_ptr);
extern "C" __global__ void __launch_bounds__(32) main_kernel(uint* __restrict__ A_ptr, float* __restrict__ BI_ptr, float* __restrict__ K_ptr, int* __restrict__ ONE_ptr, int* __restrict__ TH_ptr, uint* __restrict__ W_ptr, float* __restrict__ crop_real_ptr, uint* __restrict__ word_one_ptr, uint* __restrict__ word_two_ptr) {
  alignas(64) int sums_ptr[32];
  alignas(64) int acc_local_ptr[16];
  alignas(64) float sum_local_ptr[8];
  alignas(64) float wide_real_local_ptr[8];
  alignas(64) int sum_local_ptr_1[8];
  alignas(64) uchar bit_two_local_ptr[16];
  alignas(64) uint pack_two_local_ptr[2];
  alignas(64) uchar bit_one_local_ptr[8];
  alignas(64) uint pack_one_local_ptr[1];
  abc_bits_3_3_1_1_1_1_1_1_5_4_5_4_1_2_2_2_1_1_1_1_0_2_1((&(A_ptr[0])), (&(W_ptr[0])), 20, (&(sums_ptr[0])));
  #pragma unroll
  for (int i = 0; i < 2; ++i) {
    int cse_v1 = (i * 16);
    #pragma unroll
    for (int m = 0; m < 2; ++m) {
      #pragma unroll
      for (int l = 0; l < 8; ++l) {
        int cse_v2 = (m * 8);
        acc_local_ptr[((m * 8) + l)] = sums_ptr[(((i * 16) + (m * 8)) + l)];
      }
    }
    #pragma unroll
    for (int l_1 = 0; l_1 < 8; ++l_1) {
      #pragma unroll
      for (int v_m = 0; v_m < 2; ++v_m) {
        if (v_m == 0) {
          sum_local_ptr[l_1] = 0x0p+0f/*0.000000e+00*/;
        }
        sum_local_ptr[l_1] = (sum_local_ptr[l_1] + (K_ptr[v_m] * ((float)acc_local_ptr[((v_m * 8) + l_1)])));
      }
    }
    int cse_v3 = (((int)blockIdx.y) * 32);
    int cse_v4 = (((int)threadIdx.x) & 3);
    int cse_v7 = ((((int)threadIdx.x) & 3) * 8);
    int cse_v8 = ((((int)blockIdx.y) * 32) + ((((int)threadIdx.x) & 3) * 8));
    #pragma unroll
    for (int l_2 = 0; l_2 < 8; ++l_2) {
      sum_local_ptr[l_2] = (sum_local_ptr[l_2] + BI_ptr[(((((int)blockIdx.y) * 32) + ((((int)threadIdx.x) & 3) * 8)) + l_2)]);
    }
    #pragma unroll
    for (int l_3 = 0; l_3 < 8; ++l_3) {
      wide_real_local_ptr[l_3] = (sum_local_ptr[l_3] * 0x1p+1f/*2.000000e+00*/);
    }
    int cse_v5 = (((int)threadIdx.x) >> 2);
    int cse_v9 = (((((int)blockIdx.x) * 4) + (i * 2)) + (((int)threadIdx.x) >> 4));
    #pragma unroll
    for (int l_4 = 0; l_4 < 8; ++l_4) {
      if (((((((int)blockIdx.x) * 4) + (i * 2)) + (((int)threadIdx.x) >> 4)) < 5) && (((((int)blockIdx.y) * 4) + (((int)threadIdx.x) & 3)) < 5)) {
        crop_real_ptr[((((((((int)blockIdx.x) * 640) + (i * 320)) + ((((int)threadIdx.x) >> 2) * 40)) + (((int)blockIdx.y) * 32)) + ((((int)threadIdx.x) & 3) * 8)) + l_4)] = wide_real_local_ptr[l_4];
      }
    }
    #pragma unroll
    for (int l_5 = 0; l_5 < 8; ++l_5) {
      #pragma unroll
      for (int v_m_1 = 0; v_m_1 < 2; ++v_m_1) {
        if (v_m_1 == 0) {
          sum_local_ptr_1[l_5] = 0;
        }
        sum_local_ptr_1[l_5] = (sum_local_ptr_1[l_5] + (ONE_ptr[v_m_1] * acc_local_ptr[((v_m_1 * 8) + l_5)]));
      }
    }
    #pragma unroll
    for (int plane = 0; plane < 2; ++plane) {
      #pragma unroll
      for (int l_6 = 0; l_6 < 8; ++l_6) {
        bit_two_local_ptr[((plane * 8) + l_6)] = ((uchar)(sum_local_ptr_1[l_6] <= (TH_ptr[(((((int)blockIdx.y) * 32) + ((((int)threadIdx.x) & 3) * 8)) + l_6)] + plane)));
      }
    }
    uint cse_v10 = ((uint)((((int)threadIdx.x) & 3) * 8));
    #pragma unroll
    for (int plane_1 = 0; plane_1 < 2; ++plane_1) {
      int cse_v6 = (plane_1 * 8);
      pack_two_local_ptr[plane_1] = abc_quad_or(((((((((((uint)0 | (((uint)bit_two_local_ptr[(plane_1 * 8)]) << (uint)0)) | (((uint)bit_two_local_ptr[((plane_1 * 8) + 1)]) << (uint)1)) | (((uint)bit_two_local_ptr[((plane_1 * 8) + 2)]) << (uint)2)) | (((uint)bit_two_local_ptr[((plane_1 * 8) + 3)]) << (uint)3)) | (((uint)bit_two_local_ptr[((plane_1 * 8) + 4)]) << (uint)4)) | (((uint)bit_two_local_ptr[((plane_1 * 8) + 5)]) << (uint)5)) | (((uint)bit_two_local_ptr[((plane_1 * 8) + 6)]) << (uint)6)) | (((uint)bit_two_local_ptr[((plane_1 * 8) + 7)]) << (uint)7)) << ((uint)((((int)threadIdx.x) & 3) * 8))));
    }
    #pragma unroll
    for (int plane_2 = 0; plane_2 < 2; ++plane_2) {
      if (((((((int)blockIdx.x) * 4) + (i * 2)) + (((int)threadIdx.x) >> 4)) < 5) && ((((int)threadIdx.x) & 3) == plane_2)) {
        word_two_ptr[(((((((int)blockIdx.x) * 64) + (i * 32)) + ((((int)threadIdx.x) >> 2) * 4)) + (plane_2 * 2)) + ((int)blockIdx.y))] = pack_two_local_ptr[plane_2];
      }
    }
    #pragma unroll
    for (int l_7 = 0; l_7 < 8; ++l_7) {
      bit_one_local_ptr[l_7] = ((uchar)(0x0p+0f/*0.000000e+00*/ <= sum_local_ptr[l_7]));
    }
    pack_one_local_ptr[0] = abc_quad_or(((((((((((uint)0 | (((uint)bit_one_local_ptr[0]) << (uint)0)) | (((uint)bit_one_local_ptr[1]) << (uint)1)) | (((uint)bit_one_local_ptr[2]) << (uint)2)) | (((uint)bit_one_local_ptr[3]) << (uint)3)) | (((uint)bit_one_local_ptr[4]) << (uint)4)) | (((uint)bit_one_local_ptr[5]) << (uint)5)) | (((uint)bit_one_local_ptr[6]) << (uint)6)) | (((uint)bit_one_local_ptr[7]) << (uint)7)) << ((uint)((((int)threadIdx.x) & 3) * 8))));
    if (((((((int)blockIdx.x) * 4) + (i * 2)) + (((int)threadIdx.x) >> 4)) < 5) && ((((int)threadIdx.x) % 4) == 0)) {
      word_one_ptr[((((((int)blockIdx.x) * 32) + (i * 16)) + ((((int)threadIdx.x) >> 2) * 2)) + ((int)blockIdx.y))] = pack_one_local_ptr[0];
    }
  }
}

