// Invariants:
// 1. Values are small and never denormal: what depends on them, time above all, is as with real
// ones.
// 2. Matrices repeat a block of an odd number of values, so that no two rows of one are the same.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <utility>

#include "loader/pack/packed_weights.h"
#include "loader/pack/rope_tables.h"

namespace mneme::loader {
namespace {

using kernels::Bf16;
using kernels::Buffer;
using kernels::DType;
using kernels::Pages;

constexpr int64_t kBlockValues = 1'000'003;
constexpr int64_t kHugeFrom = int64_t{2} << 20;

// Random values in the two dtypes of matrices.
struct Block {
  explicit Block(uint64_t seed) : floats(kBlockValues), halves(kBlockValues) {
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<float> uniform(0.001f, 0.05f);
    for (int64_t i = 0; i < kBlockValues; ++i) {
      floats[i] = (random() & 1) != 0 ? uniform(random) : -uniform(random);
      halves[i] = kernels::ToBf16(floats[i]);
    }
  }

  // Fills with values from the `first`-th on, around the block.
  void Fill(DType dtype, int64_t first, int64_t count, uint8_t* out) const {
    const int64_t bytes = kernels::DTypeBytes(dtype);
    const auto* values = dtype == DType::kBf16 ? reinterpret_cast<const uint8_t*>(halves.data())
                                               : reinterpret_cast<const uint8_t*>(floats.data());
    for (int64_t done = 0, at = first % kBlockValues; done < count; at = 0) {
      const int64_t now = std::min(count - done, kBlockValues - at);
      std::memcpy(out + done * bytes, values + at * bytes, static_cast<size_t>(now * bytes));
      done += now;
    }
  }

  std::vector<float> floats;
  std::vector<Bf16> halves;
};

bool IsOnes(Role role) {
  switch (role) {
    case Role::kEmbeddingNormWeight:
    case Role::kFinalNormWeight:
    case Role::kAttentionNormWeight:
    case Role::kQueryNormWeight:
    case Role::kKeyNormWeight:
    case Role::kFfnNormWeight:
    case Role::kMemoryQueryNormWeight:
    case Role::kMemoryKeysNormWeight:
    case Role::kMemoryKeyInverseNorm:
      return true;
    default:
      return false;
  }
}

void FillWeight(const ModelDescription& model, const GeneratedWeight& weight, const Block& block,
                std::mt19937_64& random, uint8_t* out) {
  const int64_t count = weight.rows * weight.cols;
  auto* floats = reinterpret_cast<float*>(out);
  switch (weight.id.role) {
    case Role::kRopeCos:
    case Role::kRopeSin: {
      std::vector<float> other(static_cast<size_t>(count));
      const bool cosine = weight.id.role == Role::kRopeCos;
      FillRope(model.attention, {0, weight.rows}, cosine ? floats : other.data(),
               cosine ? other.data() : floats);
      return;
    }
    case Role::kMemoryShuffle: {
      auto* slots = reinterpret_cast<int32_t*>(out);
      std::iota(slots, slots + count, 0);
      std::shuffle(slots, slots + count, random);
      return;
    }
    default:
      break;
  }
  if (IsOnes(weight.id.role)) {
    std::fill_n(floats, count, 1.0f);
  } else if (weight.table_row_bytes > 0) {
    for (int64_t row = 0; row < weight.rows; ++row) {
      block.Fill(weight.dtype, row * weight.cols, weight.cols, out + row * weight.table_row_bytes);
    }
  } else {
    block.Fill(weight.dtype, static_cast<int64_t>(random() % kBlockValues), count, out);
  }
}

}  // namespace

absl::StatusOr<PackedWeights> PackedWeights::Generate(const ModelDescription& model,
                                                      const std::vector<GeneratedWeight>& weights,
                                                      uint64_t seed) {
  PackedWeights packed;
  const Block block(seed);
  std::mt19937_64 random(seed);
  for (const GeneratedWeight& weight : weights) {
    const bool table = weight.table_row_bytes > 0;
    PackedWeight made;
    made.part = weight.part;
    made.bytes = table ? weight.rows * weight.table_row_bytes
                       : weight.rows * weight.cols * kernels::DTypeBytes(weight.dtype);
    absl::StatusOr<Buffer> buffer =
        Buffer::Allocate(made.bytes, made.bytes >= kHugeFrom ? Pages::kHuge : Pages::kNormal);
    if (!buffer.ok()) return buffer.status();
    FillWeight(model, weight, block, random, buffer->data());
    if (table) {
      const auto pre_width = static_cast<int32_t>(weight.pre_cols);
      made.table = {.data = buffer->data(),
                    .rows = weight.rows,
                    .row_stride_bytes = weight.table_row_bytes,
                    .dtype = weight.dtype,
                    .pre_width = pre_width,
                    .width = static_cast<int32_t>(weight.cols) - pre_width};
    } else {
      const int64_t rows = weight.rows / std::max<int64_t>(1, weight.stack);
      made.view = {buffer->data(), weight.dtype, rows, weight.cols, weight.cols};
      for (int64_t i = 0; i < weight.stack; ++i) {
        made.stack.push_back(buffer->data() + i * made.view.bytes());
      }
    }
    packed.weights_.emplace(weight.id, made);
    packed.buffers_.push_back(*std::move(buffer));
  }
  return packed;
}

}  // namespace mneme::loader
