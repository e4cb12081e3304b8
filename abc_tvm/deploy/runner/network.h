// A compiled network in TVM's runtime, through the C interface of libtvm_ffi alone.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "npz.h"

// An input or output; an extent of -1 is the open batch.
struct Port {
  std::string name, dtype;
  std::vector<int64_t> shape;
};

// What the file NETWORK.ports beside the network says.
struct Description {
  std::vector<Port> inputs, outputs;
  bool binarized = false;
};

Description read_description(const std::string& path);

class Network {
 public:
  // `path` of the shared library; `threads` as many as one run may use.
  Network(const std::string& path, const Description& description, int threads);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // Checks names, shapes and dtypes against the description, and copies.
  void set_inputs(const std::map<std::string, Array>& arrays);
  void run();
  std::map<std::string, Array> outputs() const;

 private:
  struct State;
  Description description_;
  State* state_;
};
