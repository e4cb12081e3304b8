// ptx.cuh
// window.cuh

struct abc_bytes_3_3_1_1_1_1_1_1_5_4_5_4_1_16_2_2_1_1_1_1_0_1_1_shape {
  static constexpr int KH = 3, KW = 3, SH = 1, SW = 1, DH = 1, DW = 1, TOP = 1, LEFT = 1, H = 5, W = 4, OH = 5, OW = 4, G = 1, C = 16, NB = 2, M = 1, ROUNDS = 1, P = 1, PIXELS = 2, BLOCKS = 1, WARPS_P = 1, WARPS_O = 1, TAIL = 0;
};
__device__ __forceinline__ void abc_bytes_3_3_1_1_1_1_1_1_5_4_5_4_1_16_2_2_1_1_1_1_0_1_1(const signed char* data, const signed char* weights, int pixels,
                                       int* sums) {
  abc_window<abc_bytes_3_3_1_1_1_1_1_1_5_4_5_4_1_16_2_2_1_1_1_1_0_1_1_shape, AbcCores<abc_bytes_3_3_1_1_1_1_1_1_5_4_5_4_1_16_2_2_1_1_1_1_0_1_1_shape, AbcDots>>(reinterpret_cast<const unsigned*>(data),
                                    reinterpret_cast<const unsigned*>(weights), pixels, sums);
}
extern "C" __global__ void __launch_bounds__(32) main_kernel(signed char* __restrict__ A_ptr, signed char* __restrict__ W_ptr, signed char* __restrict__ code_z_ptr, float* __restrict__ crop_y_ptr);
extern "C" __global__ void __launch_bounds__(32) main_kernel(signed char* __restrict__ A_ptr, signed char* __restrict__ W_ptr, signed char* __restrict__ code_z_ptr, float* __restrict__ crop_y_ptr) {
  alignas(64) int sums_ptr[16];
  alignas(64) int acc_local_ptr[8];
  alignas(64) float wide_y_local_ptr[8];
  abc_bytes_3_3_1_1_1_1_1_1_5_4_5_4_1_16_2_2_1_1_1_1_0_1_1((&(A_ptr[0])), (&(W_ptr[0])), 20, (&(sums_ptr[0])));
  #pragma unroll
  for (int i = 0; i < 2; ++i) {
    #pragma unroll
    for (int l = 0; l < 8; ++l) {
      acc_local_ptr[l] = sums_ptr[((i * 8) + l)];
    }
    #pragma unroll
    for (int l_1 = 0; l_1 < 8; ++l_1) {
      wide_y_local_ptr[l_1] = ((float)acc_local_ptr[l_1]);
    }
    int cse_v1 = (((int)threadIdx.x) & 3);
    int cse_v2 = (((int)threadIdx.x) >> 2);
    int cse_v3 = (((int)blockIdx.y) * 32);
    int cse_v4 = ((((int)threadIdx.x) & 3) * 8);
    int cse_v5 = (((((int)blockIdx.x) * 4) + (i * 2)) + (((int)threadIdx.x) >> 4));
    #pragma unroll
    for (int l_2 = 0; l_2 < 8; ++l_2) {
      if (((((((int)blockIdx.x) * 4) + (i * 2)) + (((int)threadIdx.x) >> 4)) < 5) && (((((int)blockIdx.y) * 4) + (((int)threadIdx.x) & 3)) < 5)) {
        crop_y_ptr[((((((((int)blockIdx.x) * 640) + (i * 320)) + ((((int)threadIdx.x) >> 2) * 40)) + (((int)blockIdx.y) * 32)) + ((((int)threadIdx.x) & 3) * 8)) + l_2)] = wide_y_local_ptr[l_2];
      }
    }
    if ((((((int)blockIdx.x) * 4) + (i * 2)) + (((int)threadIdx.x) >> 4)) < 5) {
      abc_store8((&(code_z_ptr[(((((((int)blockIdx.x) * 1024) + (i * 512)) + ((((int)threadIdx.x) >> 2) * 64)) + (((int)blockIdx.y) * 32)) + ((((int)threadIdx.x) & 3) * 8))])), (((((uint)0 | ((((uint)acc_local_ptr[0]) & (uint)255) << (uint)0)) | ((((uint)acc_local_ptr[1]) & (uint)255) << (uint)8)) | ((((uint)acc_local_ptr[2]) & (uint)255) << (uint)16)) | ((((uint)acc_local_ptr[3]) & (uint)255) << (uint)24)), (((((uint)0 | ((((uint)acc_local_ptr[4]) & (uint)255) << (uint)0)) | ((((uint)acc_local_ptr[5]) & (uint)255) << (uint)8)) | ((((uint)acc_local_ptr[6]) & (uint)255) << (uint)16)) | ((((uint)acc_local_ptr[7]) & (uint)255) << (uint)24)));
    }
  }
}

