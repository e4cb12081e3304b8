// Runs a network that abc-tvm compiled, without Python.
//
//     ./run NETWORK.so -i IN.npz [-o OUT.npz] [--threads T] [--repeat R] [--number N]
//
// IN: .npz (keys are input names), .npy, or any other name: raw numbers (one input only). OUT
// likewise; NETWORK.ports beside the network says what goes in and out.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <thread>

#include "network.h"

namespace {

const char kUsage[] =
    "usage: run NETWORK.so (-i IN.npz | --random) [-o OUT.npz]\n"
    "           [--batch B] [--threads T] [--repeat R] [--number N]\n";

struct Options {
  std::string network, input, output;
  bool random = false;
  int batch = 1, threads = 0, repeat = 10, number = 1;
};

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

int positive(const std::string& option, const std::string& text) {
  char* end = nullptr;
  long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 1 || value > 1000000000)
    throw std::runtime_error(option + ": '" + text + "' is no number from 1");
  return int(value);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "--random") {
      options.random = true;
    } else if (word.size() > 1 && word[0] == '-') {
      if (i + 1 == argc) throw std::runtime_error(word + ": a value is missing\n" + kUsage);
      std::string value = argv[++i];
      if (word == "-i" || word == "--input") options.input = value;
      else if (word == "-o" || word == "--output") options.output = value;
      else if (word == "--batch") options.batch = positive(word, value);
      else if (word == "--threads") options.threads = positive(word, value);
      else if (word == "--repeat") options.repeat = positive(word, value);
      else if (word == "--number") options.number = positive(word, value);
      else throw std::runtime_error(word + ": unknown option\n" + kUsage);
    } else if (options.network.empty()) {
      options.network = word;
    } else {
      throw std::runtime_error(word + ": a second network\n" + kUsage);
    }
  }
  if (options.network.empty() || options.input.empty() == !options.random)
    throw std::runtime_error(kUsage);
  if (options.threads == 0) options.threads = std::max(1u, std::thread::hardware_concurrency());
  return options;
}

std::map<std::string, Array> random_inputs(const Description& description, int batch) {
  std::map<std::string, Array> arrays;
  std::mt19937 generator(0);
  std::normal_distribution<float> normal;
  for (const Port& port : description.inputs) {
    Array array{port.dtype, port.shape, {}};
    for (int64_t& extent : array.shape) extent = extent < 0 ? batch : extent;
    array.data.resize(size_t(element_count(array.shape)) * element_size(port.dtype));
    if (port.dtype == "float32") {
      float* values = reinterpret_cast<float*>(array.data.data());
      std::generate(values, values + element_count(array.shape), [&] { return normal(generator); });
    }
    arrays[port.name] = array;
  }
  return arrays;
}

std::map<std::string, Array> read_inputs(const std::string& path, const Description& description) {
  if (ends_with(path, ".npz")) return read_npz(path);
  if (description.inputs.size() != 1)
    throw std::runtime_error(path + ": the network has several inputs; give a .npz file");
  const Port& port = description.inputs[0];
  if (ends_with(path, ".npy")) return {{port.name, read_npy(path)}};
  Array array{port.dtype, port.shape, read_file(path)};
  int64_t rest = int64_t(element_size(port.dtype));
  for (int64_t extent : port.shape) rest *= extent < 0 ? 1 : extent;
  for (int64_t& extent : array.shape)
    if (extent < 0) extent = int64_t(array.data.size()) / rest;
  if (int64_t(array.data.size()) != element_count(array.shape) * int64_t(element_size(port.dtype)))
    throw std::runtime_error(path + ": " + std::to_string(array.data.size()) +
                             " bytes are no whole input of " + std::to_string(rest));
  return {{port.name, array}};
}

void write_outputs(const std::string& path, const std::map<std::string, Array>& arrays) {
  if (ends_with(path, ".npz")) return write_npz(path, arrays);
  if (arrays.size() != 1)
    throw std::runtime_error(path + ": the network has several outputs; name a .npz file");
  write_file(path, arrays.begin()->second.data);
}

std::string absolute(const std::string& path) {
  char* full = realpath(path.c_str(), nullptr);
  if (full == nullptr) throw std::runtime_error(path + ": no such file");
  std::string result = full;
  std::free(full);
  return result;
}

void run(const Options& options) {
  const std::string path = absolute(options.network);
  const size_t dot = path.rfind(".so");
  const Description description =
      read_description((dot == std::string::npos ? path : path.substr(0, dot)) + ".ports");
  Network network(path, description, options.threads);
  network.set_inputs(options.random ? random_inputs(description, options.batch)
                                    : read_inputs(options.input, description));
  network.run();
  if (!options.output.empty()) write_outputs(options.output, network.outputs());
  std::vector<double> times;
  for (int r = 0; r < options.repeat; ++r) {
    auto start = std::chrono::steady_clock::now();
    for (int n = 0; n < options.number; ++n) network.run();
    std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
    times.push_back(spent.count() / options.number);
  }
  std::sort(times.begin(), times.end());
  size_t half = times.size() / 2;
  double median = times.size() % 2 ? times[half] : (times[half - 1] + times[half]) / 2;
  std::printf("%s: median %.3f ms, least %.3f ms (%d x %d runs, %d threads)\n",
              options.network.c_str(), median, times[0], options.repeat, options.number,
              options.threads);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run: error: %s\n", error.what());
    return 2;
  }
}
