// What the emulated driver and the emulated kernels share: threads, warps, blocks.
#pragma once
#include <cstddef>
#include <vector>

struct Dim3 {
  unsigned x, y, z;
};

// An asynchronous copy that has been issued and not been waited for.
struct Copy {
  void* to;
  const void* from;
  unsigned bytes, width;
};

// Registers that the 32 lanes show each other.
struct Warp {
  unsigned lanes[32][16];
};

struct Thread {
  Dim3 index;
  unsigned lane;
  Warp* warp;
  std::vector<Copy> issued;
  std::vector<std::vector<Copy>> groups;
};

extern "C" {
extern Thread* abc_thread;  // the one that runs
extern Dim3 abc_block, abc_block_size, abc_grid_size;
void abc_wait_for_block();
void abc_wait_for_warp();
}
