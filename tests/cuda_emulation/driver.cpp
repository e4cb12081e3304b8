// CUDA's driver and runtime on the processor: memory is the process's own, and a launch runs every
// thread of every block, from one barrier to the next, one after the other.
//
// Built twice, as libcuda.so.1 and as libcudart.so.13, with the symbols that TVM's runtime uses.
// A thread that misses a barrier, an access outside all memory (each allocation ends at a page
// that cannot be touched), and a misaligned copy make the launch fail.
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "include/emulated.h"

namespace {

constexpr int INVALID = 1, NO_MEMORY = 2, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719;
constexpr std::size_t STACK = 1 << 18, PAGE = 4096, ALIGN = 16;
constexpr unsigned WARP = 32;

enum class State { ready, at_block, at_warp, done };

struct Fiber {
  Thread thread;
  ucontext_t start;
  jmp_buf here;
  bool begun = false;
  State state = State::ready;
};

using Launch = void (*)(void**);

Launch entry;
void** arguments;
jmp_buf scheduler;
sigjmp_buf failed;
volatile sig_atomic_t running = 0;
Fiber* current;
std::map<void*, std::pair<void*, std::size_t>> allocations;

void body() {
  entry(arguments);
  current->state = State::done;
  _longjmp(scheduler, 1);
}

void pause(State state) {
  Fiber* self = current;
  self->state = state;
  if (!_setjmp(self->here)) _longjmp(scheduler, 1);
}

void resume(Fiber& fiber) {
  current = &fiber;
  abc_thread = &fiber.thread;
  fiber.state = State::ready;
  if (_setjmp(scheduler)) return;
  if (fiber.begun) _longjmp(fiber.here, 1);
  fiber.begun = true;
  setcontext(&fiber.start);
}

void on_fault(int number) {
  if (running) siglongjmp(failed, number);
  signal(number, SIG_DFL);
  raise(number);
}

// Lets those go on whose barrier is complete. False where nobody can.
bool release(Fiber* fibers, unsigned count) {
  bool any = false;
  auto all = [&](unsigned from, unsigned to, State state) {
    for (unsigned i = from; i < to; ++i)
      if (fibers[i].state != state) return false;
    return true;
  };
  if (all(0, count, State::at_block)) {
    for (unsigned i = 0; i < count; ++i) fibers[i].state = State::ready;
    return true;
  }
  for (unsigned w = 0; w < count; w += WARP) {
    unsigned end = w + WARP < count ? w + WARP : count;
    if (!all(w, end, State::at_warp)) continue;
    for (unsigned i = w; i < end; ++i) fibers[i].state = State::ready;
    any = true;
  }
  return any;
}

int run_block(Fiber* fibers, char* stacks, Warp* warps, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    Fiber& f = fibers[i];
    unsigned x = abc_block_size.x, y = abc_block_size.y;
    f.thread.index = {i % x, i / x % y, i / x / y};
    f.thread.lane = i % WARP;
    f.thread.warp = &warps[i / WARP];
    f.thread.issued.clear();
    f.thread.groups.clear();
    f.begun = false;
    f.state = State::ready;
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = stacks + i * STACK;
    f.start.uc_stack.ss_size = STACK;
    f.start.uc_link = nullptr;
    makecontext(&f.start, body, 0);
  }
  for (;;) {
    unsigned done = 0;
    for (unsigned i = 0; i < count; ++i) {
      if (fibers[i].state == State::ready) resume(fibers[i]);
      done += fibers[i].state == State::done;
    }
    if (done == count) return 0;
    if (!release(fibers, count)) {
      std::fprintf(stderr, "emulated launch: block (%u, %u, %u): a barrier is not reached by all\n",
                   abc_block.x, abc_block.y, abc_block.z);
      return LAUNCH_FAILED;
    }
  }
}

int launch(Dim3 grid, Dim3 block) {
  unsigned count = block.x * block.y * block.z;
  if (!count || count > 1024 || !grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535)
    return INVALID;
  std::unique_ptr<Fiber[]> fibers(new Fiber[count]);
  std::unique_ptr<Warp[]> warps(new Warp[(count + WARP - 1) / WARP]);
  char* stacks = static_cast<char*>(mmap(nullptr, count * STACK, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (stacks == MAP_FAILED) return NO_MEMORY;
  abc_block_size = block;
  abc_grid_size = grid;
  struct sigaction act = {}, old[3];
  act.sa_handler = on_fault;
  act.sa_flags = SA_NODEFER;
  const int signals[3] = {SIGSEGV, SIGBUS, SIGILL};
  for (int i = 0; i < 3; ++i) sigaction(signals[i], &act, &old[i]);
  int status = 0;
  if (int number = sigsetjmp(failed, 1)) {
    std::fprintf(stderr, "emulated launch: block (%u, %u, %u) thread (%u, %u, %u): signal %d\n",
                 abc_block.x, abc_block.y, abc_block.z, abc_thread->index.x, abc_thread->index.y,
                 abc_thread->index.z, number);
    status = ILLEGAL_ADDRESS;
  } else {
    running = 1;
    for (unsigned z = 0; z < grid.z && !status; ++z)
      for (unsigned y = 0; y < grid.y && !status; ++y)
        for (unsigned x = 0; x < grid.x && !status; ++x) {
          abc_block = {x, y, z};
          status = run_block(fibers.get(), stacks, warps.get(), count);
        }
  }
  running = 0;
  for (int i = 0; i < 3; ++i) sigaction(signals[i], &old[i], nullptr);
  munmap(stacks, count * STACK);
  return status;
}

struct LaunchConfig {  // CUlaunchConfig
  unsigned grid[3], block[3], shared;
  void* stream;
  void* attributes;
  unsigned attribute_count;
};

int of_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

}  // namespace

extern "C" {

Thread* abc_thread;
Dim3 abc_block, abc_block_size, abc_grid_size;
void abc_wait_for_block() { pause(State::at_block); }
void abc_wait_for_warp() { pause(State::at_warp); }

// ---- driver ------------------------------------------------------------------------------------

// A module's image is the path of a shared library, after a line that says so.
int cuModuleLoadData(void** module, const void* image) {
  const char* text = static_cast<const char*>(image);
  const char mark[] = "ABC-EMULATED\n";
  if (std::strncmp(text, mark, sizeof mark - 1)) return INVALID;
  *module = dlopen(text + sizeof mark - 1, RTLD_NOW | RTLD_LOCAL);
  if (!*module) std::fprintf(stderr, "emulated module: %s\n", dlerror());
  return *module ? 0 : INVALID;
}
int cuModuleUnload(void*) { return 0; }
int cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = dlsym(module, (std::string("abc_launch_") + name).c_str());
  return *function ? 0 : NOT_FOUND;
}
int cuLaunchKernelEx(const LaunchConfig* config, void* function, void** params, void**) {
  entry = reinterpret_cast<Launch>(function);
  arguments = params;
  const unsigned *g = config->grid, *b = config->block;
  return launch({g[0], g[1], g[2]}, {b[0], b[1], b[2]});
}
int cuFuncSetAttribute(void*, int, int) { return 0; }
int cuGetErrorName(int, const char** text) { *text = "emulated"; return 0; }
int cuGetErrorString(int, const char** text) { *text = "emulated launch failed"; return 0; }
int cuDeviceGetName(char* name, int size, int) { std::snprintf(name, size, "emulated"); return 0; }
int cuTensorMapEncodeTiled() { return INVALID; }
int cuInit(unsigned) { return 0; }
int cuDeviceGetCount(int* count) { *count = 1; return 0; }
int cuDeviceGet(int* device, int) { *device = 0; return 0; }

// ---- runtime -----------------------------------------------------------------------------------

int cudaDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 1: *value = 1024; break;   // threads of a block
    case 8: *value = 48 << 10; break;  // shared memory of a block
    case 10: *value = WARP; break;
    case 16: *value = 4; break;  // multiprocessors
    case 75: *value = of_environment("ABC_EMULATED_ARCH", 80) / 10; break;
    case 76: *value = of_environment("ABC_EMULATED_ARCH", 80) % 10; break;
    default: *value = 1;
  }
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  return cudaDeviceGetAttribute(value, attribute, device);
}
int cudaMalloc(void** pointer, std::size_t size) {
  std::size_t used = (size + ALIGN - 1) / ALIGN * ALIGN, pages = (used + PAGE - 1) / PAGE * PAGE;
  char* base = static_cast<char*>(mmap(nullptr, pages + PAGE, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (base == MAP_FAILED) return NO_MEMORY;
  mprotect(base + pages, PAGE, PROT_NONE);
  *pointer = base + pages - used;
  std::memset(base, 0xa5, pages);  // memory of a device is not zero
  allocations[*pointer] = {base, pages + PAGE};
  return 0;
}
int cudaFree(void* pointer) {
  auto found = allocations.find(pointer);
  if (found == allocations.end()) return pointer ? INVALID : 0;
  munmap(found->second.first, found->second.second);
  allocations.erase(found);
  return 0;
}
int cudaMallocHost(void** pointer, std::size_t size) { *pointer = std::malloc(size); return 0; }
int cudaFreeHost(void* pointer) { std::free(pointer); return 0; }
int cudaMemcpyAsync(void* to, const void* from, std::size_t size, int, void*) {
  std::memmove(to, from, size);
  return 0;
}
int cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t size, void*) {
  std::memmove(to, from, size);
  return 0;
}
int cudaMemGetInfo(std::size_t* free, std::size_t* total) { *free = *total = 1u << 30; return 0; }
int cudaGetDevice(int* device) { *device = 0; return 0; }
int cudaGetDeviceCount(int* count) { *count = 1; return 0; }
int cudaGetDeviceProperties(void*, int) { return INVALID; }
int cudaSetDevice(int) { return 0; }
int cudaGetLastError() { return 0; }
int cudaPeekAtLastError() { return 0; }
const char* cudaGetErrorName(int) { return "emulated"; }
const char* cudaGetErrorString(int) { return "emulated error"; }
int cudaStreamCreate(void** stream) { *stream = nullptr; return 0; }
int cudaStreamCreateWithFlags(void** stream, unsigned) { *stream = nullptr; return 0; }
int cudaStreamDestroy(void*) { return 0; }
int cudaStreamSynchronize(void*) { return 0; }
int cudaStreamWaitEvent(void*, void*, unsigned) { return 0; }
int cudaEventCreate(void** event) { *event = nullptr; return 0; }
int cudaEventDestroy(void*) { return 0; }
int cudaEventRecord(void*, void*) { return 0; }
int cudaEventSynchronize(void*) { return 0; }
// Nothing is timed here; long enough for one round of a measurement.
int cudaEventElapsedTime(float* ms, void*, void*) { *ms = 10; return 0; }
// Graphs: what is captured runs at once, and launching it again is refused.
int cudaStreamBeginCapture(void*, int) { return 801; }
int cudaStreamEndCapture(void*, void**) { return 801; }
int cudaGraphInstantiate(void**, void*, unsigned long long) { return 801; }
int cudaGraphLaunch(void*, void*) { return 801; }
int cudaGraphDestroy(void*) { return 0; }
int cudaGraphExecDestroy(void*) { return 0; }
}
