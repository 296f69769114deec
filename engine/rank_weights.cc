#include "engine/rank_weights.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/plan/plan_of_rank.h"
#include "kernels/device/host_memory.h"
#include "loader/pack/in_place.h"

namespace mneme {
namespace {

loader::AxisSlice SliceOf(const v1::Layout::Part& part, int32_t chunks) {
  return {.first = part.begin(), .size = part.end() - part.begin(), .chunks = std::max(1, chunks)};
}

loader::WeightId IdOf(const v1::Weight& w) {
  return {static_cast<loader::Role>(w.role()), w.layer()};
}

loader::WeightSlice SliceOf(const v1::Weight& w, int32_t ranks, int32_t rank) {
  const v1::Layout& layout = w.layout();
  loader::WeightSlice slice;
  if (layout.block() > 0) {
    slice.block = layout.block();
    slice.rank = rank;
    slice.ranks = ranks;
    return slice;
  }
  const loader::AxisSlice part = SliceOf(layout.parts(rank), layout.chunks());
  if (w.stack() > 0) {
    (layout.axis() == 0 ? slice.matrices : layout.axis() == 1 ? slice.rows : slice.cols) = part;
    return slice;
  }
  (layout.axis() == 0 ? slice.rows : slice.cols) = part;
  if (!layout.pre_parts().empty()) slice.pre_cols = SliceOf(layout.pre_parts(rank), 1);
  return slice;
}

// weights: bytes of them that the rank makes in memory.
absl::Status CheckMemory(const v1::Plan& local, int32_t rank, int64_t weights) {
  int64_t kv = 0;
  for (const v1::KvCache& cache : local.kv_caches()) kv += cache.bytes();
  const int64_t available = kernels::AvailableHostMemory();
  if (available == 0 || weights + kv + local.arena_bytes() <= available) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("rank ", rank, " needs ", weights,
                                                   " bytes for weights that are not used in "
                                                   "place, ",
                                                   kv, " for its KV cache and ",
                                                   local.arena_bytes(), " for registers; ",
                                                   available, " are free"));
}

}  // namespace

std::map<loader::WeightId, loader::WeightSlice> SlicesOf(const v1::Plan& plan, int32_t rank) {
  std::map<loader::WeightId, loader::WeightSlice> slices;
  for (const v1::Weight& w : plan.weights()) {
    if (w.layout().kind() != v1::Layout::SPLIT || !w.shared_with().empty()) continue;
    slices[IdOf(w)] = SliceOf(w, plan.cluster().ranks(), rank);
  }
  return slices;
}

absl::StatusOr<loader::PackedWeights> PackRank(const PlannedModel& planned,
                                               const ModelOptions& options, int32_t rank) {
  const v1::Plan local = plan::PlanOfRank(planned.plan, rank);
  const loader::PackOptions pack = PackOptionsOf(options);
  const std::map<loader::WeightId, loader::WeightSlice> slices = SlicesOf(planned.plan, rank);
  int64_t made = 0;
  std::vector<loader::WeightId> ids;
  for (const v1::Weight& w : local.weights()) {
    if (!w.shared_with().empty()) continue;
    ids.push_back(IdOf(w));
    const auto slice = slices.find(IdOf(w));
    const loader::WeightSlice kept = slice == slices.end() ? loader::WeightSlice{} : slice->second;
    if (!loader::StaysInPlace(planned.checkpoint, IdOf(w), kept, pack)) made += w.bytes();
  }
  if (absl::Status status = CheckMemory(local, rank, made); !status.ok()) return status;
  return loader::PackedWeights::Pack(planned.checkpoint, ids, slices, pack);
}

absl::StatusOr<loader::PackedWeights> GenerateRank(const PlannedModel& planned, uint64_t seed,
                                                   int32_t rank) {
  const v1::Plan local = plan::PlanOfRank(planned.plan, rank);
  int64_t bytes = 0;
  std::vector<loader::GeneratedWeight> weights;
  for (const v1::Weight& w : local.weights()) {
    if (!w.shared_with().empty()) continue;
    bytes += w.bytes();
    const v1::Layout& layout = w.layout();
    const bool split = layout.kind() == v1::Layout::SPLIT;
    int64_t pre_cols = w.value_table() ? planned.checkpoint.model.memory->pre_value_dim : 0;
    if (split && layout.block() == 0 && w.value_table()) {
      pre_cols = layout.pre_parts().empty()
                     ? 0
                     : layout.pre_parts(rank).end() - layout.pre_parts(rank).begin();
    }
    weights.push_back({.id = IdOf(w),
                       .dtype = w.type() == v1::BF16  ? kernels::DType::kBf16
                                : w.type() == v1::I32 ? kernels::DType::kI32
                                                      : kernels::DType::kF32,
                       .rows = w.shape(0),
                       .cols = w.shape(1),
                       .table_row_bytes = w.value_table() ? w.bytes() / w.shape(0) : 0,
                       .stack = w.stack(),
                       .pre_cols = pre_cols,
                       .part = split});
  }
  if (absl::Status status = CheckMemory(local, rank, bytes); !status.ok()) return status;
  return loader::PackedWeights::Generate(planned.checkpoint.model, weights, seed);
}

}  // namespace mneme
