#include "tests/model/golden_case.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace mneme::testing {

const std::vector<std::string>& GoldenCases() {
  static const auto* const kCases = new std::vector<std::string>{"ultramem_v2",
                                                                 "ultramem_v2_expand",
                                                                 "ultramem_v2_plain",
                                                                 "ultramem_v1_skip",
                                                                 "ultramem_v2_options",
                                                                 "ultramem_v2_corners",
                                                                 "memory_plus",
                                                                 "dense",
                                                                 "dense_llama",
                                                                 "olmoe",
                                                                 "olmoe_fused",
                                                                 "mixtral",
                                                                 "mixtral_llama3rope",
                                                                 "qwen2_moe",
                                                                 "qwen3_moe"};
  return *kCases;
}

GoldenCase::GoldenCase(const std::string& name) : directory_("tests/golden/" + name) {
  auto file = loader::SafetensorsFile::Open(directory_ + "/golden.safetensors");
  if (!file.ok()) {
    std::fprintf(stderr, "%s\n", file.status().ToString().c_str());
    std::abort();
  }
  file_ = *std::move(file);
}

bool GoldenCase::Has(const std::string& tensor) const { return file_->tensors().count(tensor) > 0; }

const loader::StoredTensor& GoldenCase::At(const std::string& tensor) const {
  return file_->tensors().at(tensor);
}

std::vector<float> GoldenCase::Floats(const std::string& tensor) const {
  const loader::StoredTensor& t = At(tensor);
  if (t.dtype != loader::StoredDType::kF32) std::abort();
  std::vector<float> values(t.elements());
  std::memcpy(values.data(), t.bytes.data(), t.bytes.size());
  return values;
}

std::vector<std::vector<int32_t>> GoldenCase::Rows(const std::string& tensor) const {
  const loader::StoredTensor& t = At(tensor);
  if (t.dtype != loader::StoredDType::kI64 || t.shape.size() != 2) std::abort();
  std::vector<int64_t> values(t.elements());
  std::memcpy(values.data(), t.bytes.data(), t.bytes.size());
  std::vector<std::vector<int32_t>> rows(t.shape[0]);
  for (int64_t r = 0; r < t.shape[0]; ++r) {
    for (int64_t c = 0; c < t.shape[1]; ++c) {
      rows[r].push_back(static_cast<int32_t>(values[r * t.shape[1] + c]));
    }
  }
  return rows;
}

int64_t GoldenCase::LastDim(const std::string& tensor) const { return At(tensor).shape.back(); }

double StandardDeviation(const std::vector<float>& values) {
  double mean = 0;
  for (float v : values) mean += v;
  mean /= static_cast<double>(values.size());
  double square = 0;
  for (float v : values) square += (v - mean) * (v - mean);
  return std::sqrt(square / static_cast<double>(values.size()));
}

double LargestDifference(const std::vector<float>& golden,
                         const std::vector<std::vector<float>>& got) {
  size_t i = 0;
  double largest = 0;
  for (const auto& row : got) {
    for (float value : row) {
      if (i == golden.size()) return std::numeric_limits<double>::infinity();
      largest = std::max(largest, std::abs(double{value} - golden[i++]));
    }
  }
  return i == golden.size() ? largest : std::numeric_limits<double>::infinity();
}

int32_t ArgMax(const std::vector<float>& logits, int64_t vocab) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.begin() + vocab) -
                              logits.begin());
}

}  // namespace mneme::testing
