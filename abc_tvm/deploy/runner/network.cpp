#include "network.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tvm/ffi/c_api.h"

namespace {

constexpr size_t kAlignment = 64;  // TVM takes memory of less for damaged

// An owned value of TVM's.
class Value {
 public:
  Value() { std::memset(&any_, 0, sizeof any_); }
  Value(Value&& other) noexcept : any_(other.any_) { std::memset(&other.any_, 0, sizeof any_); }
  Value& operator=(Value&& other) noexcept {
    std::swap(any_, other.any_);
    return *this;
  }
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  ~Value() {
    if (any_.type_index >= kTVMFFIStaticObjectBegin) TVMFFIObjectDecRef(any_.v_obj);
  }
  TVMFFIAny* get() { return &any_; }
  const TVMFFIAny& view() const { return any_; }

 private:
  TVMFFIAny any_;
};

TVMFFIAny any(int32_t type) {
  TVMFFIAny value;
  std::memset(&value, 0, sizeof value);
  value.type_index = type;
  return value;
}

TVMFFIAny integer(int64_t number) {
  TVMFFIAny value = any(kTVMFFIInt);
  value.v_int64 = number;
  return value;
}

TVMFFIAny text(const char* string) {
  TVMFFIAny value = any(kTVMFFIRawStr);
  value.v_c_str = string;
  return value;
}

void check(int code, const char* what) {
  if (code == 0) return;
  TVMFFIObjectHandle error = nullptr;
  TVMFFIErrorMoveFromRaised(&error);
  std::string message = what;
  if (error != nullptr) {
    TVMFFIByteArray reason = TVMFFIErrorGetCellPtr(error)->message;
    message += ": " + std::string(reason.data, reason.size);
    TVMFFIObjectDecRef(error);
  }
  throw std::runtime_error(message);
}

Value call(TVMFFIObjectHandle function, std::vector<TVMFFIAny> arguments, const char* what) {
  Value result;
  check(TVMFFIFunctionCall(function, arguments.data(), int32_t(arguments.size()), result.get()),
        what);
  return result;
}

Value call_global(const char* name, std::vector<TVMFFIAny> arguments) {
  TVMFFIByteArray key{name, std::strlen(name)};
  Value function;
  TVMFFIObjectHandle handle = nullptr;
  check(TVMFFIFunctionGetGlobal(&key, &handle), name);
  if (handle == nullptr) throw std::runtime_error(std::string("TVM's runtime has no ") + name);
  function.get()->type_index = kTVMFFIFunction;
  function.get()->v_obj = static_cast<TVMFFIObject*>(handle);
  return call(handle, std::move(arguments), name);
}

Value method(const Value& module, const char* name) {
  TVMFFIAny query = any(kTVMFFIBool);
  Value function = call_global("ffi.ModuleGetFunction", {module.view(), text(name), query});
  if (function.view().type_index != kTVMFFIFunction)
    throw std::runtime_error(std::string("the network has no function ") + name);
  return function;
}

DLDataType dl_type(const std::string& name) {
  TVMFFIByteArray key{name.data(), name.size()};
  DLDataType type;
  check(TVMFFIDataTypeFromString(&key, &type), name.c_str());
  return type;
}

// Memory of an input, for as long as TVM holds it.
struct Buffer {
  DLManagedTensor managed;
  std::vector<int64_t> shape;
  void* memory;
};

void release(DLManagedTensor* tensor) {
  Buffer* buffer = static_cast<Buffer*>(tensor->manager_ctx);
  std::free(buffer->memory);
  delete buffer;
}

Value tensor(const Array& array) {
  size_t rounded = (array.data.size() + kAlignment - 1) / kAlignment * kAlignment;
  Buffer* buffer = new Buffer;
  std::memset(&buffer->managed, 0, sizeof buffer->managed);
  buffer->shape = array.shape;
  buffer->memory = std::aligned_alloc(kAlignment, rounded == 0 ? kAlignment : rounded);
  if (buffer->memory == nullptr) throw std::runtime_error("out of memory");
  std::memcpy(buffer->memory, array.data.data(), array.data.size());
  DLTensor& view = buffer->managed.dl_tensor;
  view.data = buffer->memory;
  view.device = DLDevice{kDLCPU, 0};
  view.ndim = int32_t(array.shape.size());
  view.dtype = dl_type(array.dtype);
  view.shape = buffer->shape.data();
  buffer->managed.manager_ctx = buffer;
  buffer->managed.deleter = release;
  Value result;
  TVMFFIObjectHandle handle = nullptr;
  check(TVMFFITensorFromDLPack(&buffer->managed, kAlignment, 1, &handle), "input");
  result.get()->type_index = kTVMFFITensor;
  result.get()->v_obj = static_cast<TVMFFIObject*>(handle);
  return result;
}

Array copy_of(const TVMFFIAny& value, const Port& port) {
  if (value.type_index != kTVMFFITensor) throw std::runtime_error(port.name + ": not a tensor");
  const DLTensor* view = TVMFFITensorGetDLTensorPtr(value.v_obj);
  Array array;
  array.dtype = port.dtype;
  array.shape.assign(view->shape, view->shape + view->ndim);
  array.data.resize(size_t(element_count(array.shape)) * element_size(port.dtype));
  std::memcpy(array.data.data(), static_cast<const char*>(view->data) + view->byte_offset,
              array.data.size());
  return array;
}

std::string listed(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    out += (i ? ", " : "") + (shape[i] < 0 ? std::string("N") : std::to_string(shape[i]));
  return out + "]";
}

void check_input(const Port& port, const Array& array, int64_t& batch, bool binarized) {
  const std::string what = "input '" + port.name + "': ";
  if (array.dtype != port.dtype)
    throw std::runtime_error(what + "dtype " + array.dtype + " was given and " + port.dtype +
                             " is needed");
  bool same = array.shape.size() == port.shape.size();
  for (size_t i = 0; same && i < port.shape.size(); ++i) {
    int64_t wanted = port.shape[i];
    if (wanted < 0 && batch < 0) batch = array.shape[i];
    if (wanted < 0) wanted = batch;
    same = array.shape[i] == wanted && wanted > 0;
  }
  if (!same)
    throw std::runtime_error(what + "shape " + listed(array.shape) + " was given and " +
                             listed(port.shape) + " is needed");
  if (!binarized || port.dtype != "float32") return;
  for (size_t i = 0; i < array.data.size(); i += sizeof(float)) {
    float value;
    std::memcpy(&value, array.data.data() + i, sizeof value);
    if (!std::isfinite(value))
      throw std::runtime_error(what + "a binarized network needs finite numbers, and there is a " +
                               "NaN or infinity");
  }
}

}  // namespace

struct Network::State {
  Value library, executable, main;
  std::vector<Value> inputs;
  Value result;
};

Description read_description(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  Description description;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string side;
    Port port;
    int rank = 0;
    words >> side;
    if (side == "binarized") description.binarized = true;
    if (side != "input" && side != "output") continue;
    words >> port.dtype >> rank;
    port.shape.resize(size_t(rank));
    for (int64_t& extent : port.shape) words >> extent;
    words.get();  // the blank before the name, which may hold blanks itself
    std::getline(words, port.name);
    if (port.name.empty()) throw std::runtime_error(path + ": damaged; make the bundle again");
    (side == "input" ? description.inputs : description.outputs).push_back(port);
  }
  return description;
}

Network::Network(const std::string& path, const Description& description, int threads)
    : description_(description), state_(new State) {
  try {
    // The size of the pool is read from here, at the first parallel loop.
    setenv("TVM_NUM_THREADS", std::to_string(threads).c_str(), 1);
    setenv("TVM_BIND_THREADS", "0", 0);
    state_->library = call_global("ffi.ModuleLoadFromFile", {text(path.c_str())});
    state_->executable = call(method(state_->library, "vm_load_executable").view().v_obj, {},
                              "vm_load_executable");
    const int kPooledAllocator = 2;
    call(method(state_->executable, "vm_initialization").view().v_obj,
         {integer(kDLCPU), integer(0), integer(kPooledAllocator)}, "vm_initialization");
    state_->main = method(state_->executable, "main");
  } catch (...) {
    delete state_;
    throw;
  }
}

Network::~Network() { delete state_; }

void Network::set_inputs(const std::map<std::string, Array>& arrays) {
  state_->inputs.clear();
  int64_t batch = -1;
  for (const Port& port : description_.inputs) {
    auto found = arrays.find(port.name);
    if (found == arrays.end()) throw std::runtime_error("input '" + port.name + "' is missing");
    check_input(port, found->second, batch, description_.binarized);
    state_->inputs.push_back(tensor(found->second));
  }
}

void Network::run() {
  std::vector<TVMFFIAny> arguments;
  for (const Value& input : state_->inputs) arguments.push_back(input.view());
  state_->result = call(state_->main.view().v_obj, std::move(arguments), "main");
}

std::map<std::string, Array> Network::outputs() const {
  std::map<std::string, Array> arrays;
  const TVMFFIAny& result = state_->result.view();
  for (size_t i = 0; i < description_.outputs.size(); ++i) {
    const Port& port = description_.outputs[i];
    if (result.type_index == kTVMFFITensor) {
      arrays[port.name] = copy_of(result, port);
    } else {
      Value item = call_global("ffi.ArrayGetItem", {result, integer(int64_t(i))});
      arrays[port.name] = copy_of(item.view(), port);
    }
  }
  return arrays;
}
