/* Calls one kernel with arguments from files: program (file type bits rank dims...)...
 *
 * Supplies what a kernel needs of TVM: the error message, workspaces, and parallel loops, here one
 * task after the other. Workspaces and arguments end at a page that nobody may read, so that a
 * load behind the end is seen.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct { int32_t type, id; } Device;
typedef struct { uint8_t code, bits; uint16_t lanes; } Type;
typedef struct {
  void *data;
  Device device;
  int32_t rank;
  Type type;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} Tensor;
typedef struct { int32_t type; uint32_t padding; union { int64_t number; void *pointer; }; } Any;
typedef struct { void *sync; int32_t tasks; } Environment;

int __tvm_ffi_main(void *self, const Any *arguments, int32_t count, Any *result);

void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count) {
  fprintf(stderr, "%s: ", kind);
  for (int32_t i = 0; i < count; i++) fprintf(stderr, "%s", parts[i] ? parts[i] : "");
  fprintf(stderr, "\n");
}

static void *guarded(size_t bytes) {
  size_t page = 65536, used = (bytes + 63) / 64 * 64, whole = (used + page - 1) / page * page;
  char *place = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED || mprotect(place + whole, page, PROT_NONE)) exit(3);
  return place + whole - used;
}

void *TVMBackendAllocWorkspace(int kind, int id, uint64_t bytes, int code, int bits) {
  (void)kind, (void)id, (void)code, (void)bits;
  return guarded(bytes);
}

int TVMBackendFreeWorkspace(int kind, int id, void *place) {
  (void)kind, (void)id, (void)place;
  return 0;
}

int TVMBackendParallelLaunch(int (*task)(int, Environment *, void *), void *data, int tasks) {
  Environment environment = {NULL, tasks > 0 ? tasks : 4};
  for (int n = 0; n < environment.tasks; n++) {
    int code = task(n, &environment, data);
    if (code) return code;
  }
  return 0;
}

int TVMBackendParallelBarrier(int task, Environment *environment) {
  (void)task, (void)environment;
  return 0;
}

/* A kernel calls these through variables, which TVM's loader fills in elsewhere. */
void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = TVMBackendAllocWorkspace;
int (*__TVMBackendFreeWorkspace)(int, int, void *) = TVMBackendFreeWorkspace;
int (*__TVMBackendParallelLaunch)(int (*)(int, Environment *, void *), void *, int) =
    TVMBackendParallelLaunch;
int (*__TVMBackendParallelBarrier)(int, Environment *) = TVMBackendParallelBarrier;

int main(int argc, char **argv) {
  Tensor tensors[64];
  Any arguments[64], result;
  char *files[64];
  size_t sizes[64];
  int count = 0;
  for (int at = 1; at < argc; count++) {
    Tensor *t = &tensors[count];
    memset(t, 0, sizeof *t);
    files[count] = argv[at++];
    t->device.type = 1;
    t->type.code = (uint8_t)atoi(argv[at++]);
    t->type.bits = (uint8_t)atoi(argv[at++]);
    t->type.lanes = 1;
    t->rank = atoi(argv[at++]);
    t->shape = calloc((size_t)t->rank + 1, sizeof(int64_t));
    t->strides = calloc((size_t)t->rank + 1, sizeof(int64_t));
    size_t bytes = t->type.bits / 8;
    for (int32_t i = 0; i < t->rank; i++) {
      t->shape[i] = atoll(argv[at++]);
      bytes *= (size_t)t->shape[i];
    }
    for (int64_t i = t->rank - 1, n = 1; i >= 0; n *= t->shape[i--]) t->strides[i] = n;
    t->data = guarded(bytes);
    sizes[count] = bytes;
    FILE *file = fopen(files[count], "rb");
    if (!file || fread(t->data, 1, bytes, file) != bytes) return 4;
    fclose(file);
    memset(&arguments[count], 0, sizeof(Any));
    arguments[count].type = 7; /* kTVMFFIDLTensorPtr */
    arguments[count].pointer = t;
  }
  memset(&result, 0, sizeof result);
  int code = __tvm_ffi_main(NULL, arguments, count, &result);
  if (code) return 5;
  for (int n = 0; n < count; n++) {
    FILE *file = fopen(files[n], "wb");
    if (!file || fwrite(tensors[n].data, 1, sizes[n], file) != sizes[n]) return 6;
    fclose(file);
  }
  return 0;
}
