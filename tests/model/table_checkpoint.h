// A checkpoint of a memory model that is almost all value table.
#ifndef MNEME_TESTS_MODEL_TABLE_CHECKPOINT_H_
#define MNEME_TESTS_MODEL_TABLE_CHECKPOINT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace mneme::testing {

inline constexpr int64_t kTableRowBytes = (128 + 64) * 2;  // values and pre-values, bf16

// One block, 64 wide, with a table of keys * keys slots, written to an existing directory.
absl::Status WriteTableCheckpoint(const std::string& directory, int64_t keys);

}  // namespace mneme::testing

#endif  // MNEME_TESTS_MODEL_TABLE_CHECKPOINT_H_
