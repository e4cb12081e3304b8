// Formats: "NumPy Enhancement Proposal 1" (npy) and PKWARE's APPNOTE 6.3 (zip), both
// little-endian, as are the machines that this runs on.
#include "npz.h"

#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace {

using Bytes = std::vector<unsigned char>;

struct Kind {
  const char* name;
  const char* code;
  size_t size;
};
const Kind kKinds[] = {{"float32", "f4", 4}, {"float64", "f8", 8}, {"int8", "i1", 1},
                       {"int16", "i2", 2},   {"int32", "i4", 4},   {"int64", "i8", 8},
                       {"uint8", "u1", 1},   {"uint16", "u2", 2},  {"uint32", "u4", 4},
                       {"uint64", "u8", 8},  {"bool", "b1", 1}};

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
  throw std::runtime_error(path + ": " + reason);
}

const Kind& kind_of(const std::string& name) {
  for (const Kind& kind : kKinds)
    if (name == kind.name) return kind;
  throw std::runtime_error("dtype " + name + " is not supported");
}

uint64_t number(const Bytes& data, size_t at, int bytes, const std::string& path) {
  if (at + bytes > data.size()) fail(path, "cut short");
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= uint64_t(data[at + i]) << (8 * i);
  return value;
}

void append(Bytes& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back((value >> (8 * i)) & 0xff);
}

void append(Bytes& out, const std::string& text) { out.insert(out.end(), text.begin(), text.end()); }

// What follows "'key': " in the header, a Python dictionary that NumPy writes in one form only.
std::string field(const std::string& header, const std::string& key, const std::string& path) {
  size_t at = header.find("'" + key + "': ");
  if (at == std::string::npos) fail(path, "no .npy header with " + key);
  return header.substr(at + key.size() + 4);
}

Array parse_npy(const Bytes& data, const std::string& path) {
  if (data.size() < 10 || std::memcmp(data.data(), "\x93NUMPY", 6) != 0)
    fail(path, "not a .npy array");
  int width = data[6] == 1 ? 2 : 4;
  size_t start = 8 + width + number(data, 8, width, path);
  if (start > data.size()) fail(path, "cut short");
  std::string header(data.begin() + 8 + width, data.begin() + start);

  Array array;
  std::string code = field(header, "descr", path).substr(1, 3);
  for (const Kind& kind : kKinds)
    if ((code[0] == '<' || code[0] == '|') && code.substr(1) == kind.code) array.dtype = kind.name;
  if (array.dtype.empty()) fail(path, "dtype " + code + " is not supported");
  if (field(header, "fortran_order", path).rfind("False", 0) != 0)
    fail(path, "columns come first (Fortran order); save numpy.ascontiguousarray of it");
  std::string shape = field(header, "shape", path);
  for (size_t i = 1; i < shape.size() && shape[i] != ')'; ++i) {
    if (shape[i] < '0' || shape[i] > '9') continue;
    size_t digits = 0;
    array.shape.push_back(std::stoll(shape.substr(i), &digits));
    i += digits - 1;
  }
  array.data.assign(data.begin() + start, data.end());
  if (array.data.size() != size_t(element_count(array.shape)) * element_size(array.dtype))
    fail(path, "cut short");
  return array;
}

Bytes format_npy(const Array& array) {
  std::string shape;
  for (int64_t extent : array.shape) shape += std::to_string(extent) + ", ";
  const Kind& kind = kind_of(array.dtype);
  std::string header = std::string("{'descr': '") + (kind.size == 1 ? "|" : "<") + kind.code +
                       "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  Bytes out = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  append(out, header.size(), 2);
  append(out, header);
  out.insert(out.end(), array.data.begin(), array.data.end());
  return out;
}

uint32_t crc32(const Bytes& data) {
  uint32_t crc = 0xffffffffu;
  for (unsigned char byte : data) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1)));
  }
  return ~crc;
}

}  // namespace

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t extent : shape) count *= extent;
  return count;
}

size_t element_size(const std::string& dtype) { return kind_of(dtype).size; }

Bytes read_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) fail(path, "cannot be read");
  Bytes data;
  unsigned char part[65536];
  size_t got;
  while ((got = std::fread(part, 1, sizeof part, file)) > 0) data.insert(data.end(), part, part + got);
  bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) fail(path, "cannot be read");
  return data;
}

void write_file(const std::string& path, const Bytes& data) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  bool good = file != nullptr && std::fwrite(data.data(), 1, data.size(), file) == data.size();
  if (file != nullptr && std::fclose(file) != 0) good = false;
  if (!good) fail(path, "cannot be written");
}

Array read_npy(const std::string& path) { return parse_npy(read_file(path), path); }

std::map<std::string, Array> read_npz(const std::string& path) {
  Bytes data = read_file(path);
  const size_t kEnd = 22;
  if (data.size() < kEnd) fail(path, "not a .npz file");
  size_t end = data.size() - kEnd;
  while (end > 0 && number(data, end, 4, path) != 0x06054b50) --end;
  if (number(data, end, 4, path) != 0x06054b50) fail(path, "not a .npz file, or cut short");
  size_t at = number(data, end + 16, 4, path);
  std::map<std::string, Array> arrays;
  for (uint64_t left = number(data, end + 10, 2, path); left > 0; --left) {
    if (number(data, at, 4, path) != 0x02014b50) fail(path, "not a .npz file");
    uint64_t method = number(data, at + 10, 2, path), size = number(data, at + 24, 4, path);
    uint64_t names = number(data, at + 28, 2, path), local = number(data, at + 42, 4, path);
    if (at + 46 + names > data.size()) fail(path, "cut short");
    std::string name(data.begin() + at + 46, data.begin() + at + 46 + names);
    if (method != 0) fail(path, "is compressed; write it with numpy.savez");
    size_t start = local + 30 + number(data, local + 26, 2, path) + number(data, local + 28, 2, path);
    if (size == 0xffffffff || start + size > data.size()) fail(path, "cut short, or above 4 GB");
    if (name.size() > 4 && name.substr(name.size() - 4) == ".npy") name.resize(name.size() - 4);
    arrays[name] = parse_npy(Bytes(data.begin() + start, data.begin() + start + size), path);
    at += 46 + names + number(data, at + 30, 2, path) + number(data, at + 32, 2, path);
  }
  return arrays;
}

void write_npz(const std::string& path, const std::map<std::string, Array>& arrays) {
  Bytes out, directory;
  for (const auto& [key, array] : arrays) {
    Bytes content = format_npy(array);
    std::string name = key + ".npy";
    Bytes common;
    append(common, 20, 2);       // version needed
    append(common, 0, 2 + 2);       // flags, method: stored
    append(common, 0x00210000, 4);  // time and date: 1 January 1980
    append(common, crc32(content), 4);
    append(common, content.size(), 4);
    append(common, content.size(), 4);
    append(common, name.size(), 2);
    append(common, 0, 2);
    size_t local = out.size();
    append(out, 0x04034b50, 4);
    out.insert(out.end(), common.begin(), common.end());
    append(out, name);
    out.insert(out.end(), content.begin(), content.end());
    append(directory, 0x02014b50, 4);
    append(directory, 20, 2);
    directory.insert(directory.end(), common.begin(), common.end());
    append(directory, 0, 2 + 2 + 2 + 4);  // comment, disk, attributes
    append(directory, local, 4);
    append(directory, name);
  }
  size_t start = out.size();
  out.insert(out.end(), directory.begin(), directory.end());
  append(out, 0x06054b50, 4);
  append(out, 0, 2 + 2);
  append(out, arrays.size(), 2);
  append(out, arrays.size(), 2);
  append(out, directory.size(), 4);
  append(out, start, 4);
  append(out, 0, 2);
  write_file(path, out);
}
