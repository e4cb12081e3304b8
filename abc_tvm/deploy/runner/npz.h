// NumPy's files: .npy (one array) and .npz (a zip of them, stored as numpy.savez writes it).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct Array {
  std::string dtype;  // "float32", "int64", ...
  std::vector<int64_t> shape;
  std::vector<unsigned char> data;
};

int64_t element_count(const std::vector<int64_t>& shape);
size_t element_size(const std::string& dtype);  // throws for a dtype that is not known

// All of them throw std::runtime_error with the file's name and what is wrong.
std::vector<unsigned char> read_file(const std::string& path);
Array read_npy(const std::string& path);
std::map<std::string, Array> read_npz(const std::string& path);
void write_file(const std::string& path, const std::vector<unsigned char>& data);
void write_npz(const std::string& path, const std::map<std::string, Array>& arrays);
