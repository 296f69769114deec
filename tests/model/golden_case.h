// A golden checkpoint with the reference implementation's outputs (tests/golden/README.md).
#ifndef MNEME_TESTS_MODEL_GOLDEN_CASE_H_
#define MNEME_TESTS_MODEL_GOLDEN_CASE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "loader/safetensors/safetensors.h"

namespace mneme::testing {

// All case names, in the order of tests/golden/README.md.
const std::vector<std::string>& GoldenCases();

class GoldenCase {
 public:
  // Aborts the test when the files are not there.
  explicit GoldenCase(const std::string& name);

  const std::string& directory() const { return directory_; }
  bool Has(const std::string& tensor) const;
  // The elements of a tensor, row-major. REQUIRES: it is there and has that type.
  std::vector<float> Floats(const std::string& tensor) const;
  // Rows of an int64 tensor [rows, columns].
  std::vector<std::vector<int32_t>> Rows(const std::string& tensor) const;
  int64_t LastDim(const std::string& tensor) const;

 private:
  const loader::StoredTensor& At(const std::string& tensor) const;

  std::string directory_;
  std::shared_ptr<const loader::SafetensorsFile> file_;
};

double StandardDeviation(const std::vector<float>& values);

// Largest absolute difference, row after row; as many values in both, or infinity.
double LargestDifference(const std::vector<float>& golden,
                         const std::vector<std::vector<float>>& got);

// The most likely of the first `vocab` entries.
int32_t ArgMax(const std::vector<float>& logits, int64_t vocab);

}  // namespace mneme::testing

#endif  // MNEME_TESTS_MODEL_GOLDEN_CASE_H_
