// CUDA's driver and runtime on the processor: memory is the process's own, and a launch runs every
// thread of every block, from one barrier to the next, one after the other.
//
// Built twice, as libcuda.so.1 and as libcudart.so.13, with the symbols that TVM's runtime uses.
// Streams are in include/streams.h. A thread that misses a barrier, an access outside all memory (each allocation ends at a page
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
#include <utility>

#include "include/emulated.h"
#include "include/streams.h"

namespace {

constexpr int NO_MEMORY = 2, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719;
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

struct Function {
  Launch launch;
  const std::size_t* sizes;  // of the parameters, and 0
};

Launch entry;
void** arguments;
jmp_buf scheduler;
sigjmp_buf failed;
volatile sig_atomic_t running = 0;
Fiber* current;
std::map<void*, std::pair<void*, std::size_t>> allocations;
thread_local int last_error = 0;

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
  Stream* stream;
  void* attributes;
  unsigned attribute_count;
};

int of_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

// A launch with copies of its parameters, as the driver makes them.
Work launch_of(const LaunchConfig& config, const Function& function, void** params) {
  std::vector<std::vector<char>> values;
  for (const std::size_t* size = function.sizes; *size; ++size) {
    const char* value = static_cast<const char*>(params[values.size()]);
    values.emplace_back(value, value + *size);
  }
  return [config, function, values] {
    std::vector<void*> pointers;
    for (const auto& value : values) pointers.push_back(const_cast<char*>(value.data()));
    entry = function.launch;
    arguments = pointers.data();
    const unsigned *g = config.grid, *b = config.block;
    int status = launch({g[0], g[1], g[2]}, {b[0], b[1], b[2]});
    abc_shared().launches += status == 0;
    return status;
  };
}

// What a call of the runtime says, kept for cudaGetLastError.
int said(int status) {
  if (status) last_error = status;
  return status;
}

using Lock = std::lock_guard<std::recursive_mutex>;

}  // namespace

Shared& abc_shared() {
  static Shared shared;
  return shared;
}

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
int cuModuleGetFunction(Function** function, void* module, const char* name) {
  void* entry = dlsym(module, (std::string("abc_launch_") + name).c_str());
  void* sizes = dlsym(module, (std::string("abc_sizes_") + name).c_str());
  if (!entry || !sizes) return NOT_FOUND;
  *function = new Function{reinterpret_cast<Launch>(entry), static_cast<std::size_t*>(sizes)};
  return 0;
}
int cuLaunchKernelEx(const LaunchConfig* config, Function* function, void** params, void**) {
  Lock lock(abc_shared().lock);
  return abc_shared().put(config->stream, launch_of(*config, *function, params));
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
  Lock lock(abc_shared().lock);
  if (int status = said(abc_shared().unsafe())) return status;
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
  Lock lock(abc_shared().lock);
  if (int status = said(abc_shared().unsafe())) return status;
  auto found = allocations.find(pointer);
  if (found == allocations.end()) return pointer ? INVALID : 0;
  // The addresses stay taken: whoever still uses them is found, not given other memory.
  mmap(found->second.first, found->second.second, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  allocations.erase(found);
  return 0;
}
int cudaMallocHost(void** pointer, std::size_t size) {
  Lock lock(abc_shared().lock);
  if (int status = said(abc_shared().unsafe())) return status;
  *pointer = std::malloc(size);
  return 0;
}
int cudaFreeHost(void* pointer) {
  Lock lock(abc_shared().lock);
  if (int status = said(abc_shared().unsafe())) return status;
  std::free(pointer);
  return 0;
}
int cudaMemcpyAsync(void* to, const void* from, std::size_t size, int, Stream* stream) {
  Lock lock(abc_shared().lock);
  return said(abc_shared().put(stream, [=] {
    std::memmove(to, from, size);
    return 0;
  }));
}
int cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t size, Stream* stream) {
  return cudaMemcpyAsync(to, from, size, 0, stream);
}
int cudaMemGetInfo(std::size_t* free, std::size_t* total) { *free = *total = 1u << 30; return 0; }
int cudaGetDevice(int* device) { *device = 0; return 0; }
int cudaGetDeviceCount(int* count) { *count = 1; return 0; }
int cudaGetDeviceProperties(void*, int) { return INVALID; }
int cudaSetDevice(int) { return 0; }
int cudaGetLastError() { return std::exchange(last_error, 0); }
int cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorName(int) { return "emulated"; }
const char* cudaGetErrorString(int) { return "emulated error"; }
int cudaStreamCreateWithFlags(Stream** stream, unsigned flags) {
  Lock lock(abc_shared().lock);
  *stream = new Stream{flags == 0};
  abc_shared().streams.insert(*stream);
  return 0;
}
int cudaStreamCreate(Stream** stream) { return cudaStreamCreateWithFlags(stream, 0); }
int cudaStreamDestroy(Stream* stream) {
  Lock lock(abc_shared().lock);
  if (!abc_shared().streams.erase(stream)) return said(INVALID);
  delete stream;
  return 0;
}
int cudaStreamSynchronize(Stream* stream) {
  Lock lock(abc_shared().lock);
  return said(abc_shared().wait(stream));
}
// Work is done when it is put on a stream, so events have nothing to order, but for captures, which
// would have to follow them.
int cudaStreamWaitEvent(Stream* stream, void*, unsigned) { return cudaStreamSynchronize(stream); }
int cudaEventCreate(void** event) { *event = nullptr; return 0; }
int cudaEventDestroy(void*) { return 0; }
int cudaEventRecord(void*, Stream* stream) { return cudaStreamSynchronize(stream); }
int cudaEventSynchronize(void*) { return 0; }
// Nothing is timed here; long enough for one round of a measurement.
int cudaEventElapsedTime(float* ms, void*, void*) { *ms = 10; return 0; }
int cudaStreamBeginCapture(Stream* stream, int mode) {
  Lock lock(abc_shared().lock);
  return said(abc_shared().begin(stream, mode));
}
int cudaStreamEndCapture(Stream* stream, Graph** graph) {
  Lock lock(abc_shared().lock);
  return said(abc_shared().end(stream, graph));
}
int cudaGraphInstantiate(Graph** executable, Graph* graph, unsigned long long) {
  Lock lock(abc_shared().lock);
  return said(abc_shared().instantiate(executable, graph));
}
int cudaGraphLaunch(Graph* executable, Stream* stream) {
  Lock lock(abc_shared().lock);
  return said(abc_shared().replay(executable, stream));
}
int cudaGraphDestroy(Graph* graph) {
  Lock lock(abc_shared().lock);
  return said(abc_shared().destroy(abc_shared().graphs, graph));
}
int cudaGraphExecDestroy(Graph* executable) {
  Lock lock(abc_shared().lock);
  return said(abc_shared().destroy(abc_shared().executables, executable));
}

// ---- for tests ---------------------------------------------------------------------------------

long abc_launches() { return abc_shared().launches; }
long abc_replays() { return abc_shared().replays; }
long abc_executables() { return static_cast<long>(abc_shared().executables.size()); }
}
