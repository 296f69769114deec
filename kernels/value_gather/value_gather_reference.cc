#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/value_gather/value_gather.h"
#include "kernels/value_gather/value_gather_traffic.h"

namespace mneme::kernels {
namespace {

float RowElement(const ValueTable& table, int64_t row, int64_t i) {
  const uint8_t* data = table.row(row);
  return table.dtype == DType::kBf16 ? ToFloat(reinterpret_cast<const Bf16*>(data)[i])
                                     : reinterpret_cast<const float*>(data)[i];
}

float PreScore(const ValueGatherArgs& args, int64_t token, int64_t selection, int64_t row) {
  const bool given = args.pre_score.data != nullptr;
  if (args.table.pre_width == 0 && !given) return 1.0f;
  float a = given ? args.pre_score.row(token)[selection] : 0.0f;
  for (int32_t i = 0; i < args.table.pre_width && !given; ++i) {
    a += RowElement(args.table, row, args.table.pre_offset + i) * args.pre_query.row(token)[i];
  }
  if (!args.gelu_pre_score) return a;
  return 0.5f * a * (1.0f + std::erf(a * 0.70710678118654752f));
}

}  // namespace

Traffic ValueGatherTraffic(const ValueGatherArgs& args, int64_t uses, int64_t distinct_rows) {
  const int64_t tokens = args.slot.rows;
  const int64_t per_use =
      (args.expand_groups > 1 ? 1 : 0) + args.cores + (args.pre_score.data != nullptr ? 1 : 0);
  Traffic traffic;
  traffic.Read(TrafficClass::kValueRows, distinct_rows * args.table.row_bytes());
  traffic.Read(TrafficClass::kActivations,
               (tokens * (args.slot.cols + args.table.pre_width) + uses * per_use) * 4);
  traffic.Write(TrafficClass::kActivations,
                tokens * args.table.width * args.expand_groups * int64_t{4});
  return traffic;
}

Traffic ValueGatherReference(const ValueGatherArgs& args) {
  const int64_t tokens = args.slot.rows;
  const int64_t selections = args.slot.cols;
  const int32_t width = args.table.width;
  const int32_t slice = (args.table_width > 0 ? args.table_width : width) / args.cores;
  struct Use {
    int64_t slot;
    int64_t token;
    int64_t selection;
  };
  std::vector<Use> uses;
  for (int64_t t = 0; t < tokens; ++t) {
    std::fill_n(args.y.row(t), int64_t{width} * args.expand_groups, 0.0f);
    std::vector<Use> mine;
    for (int64_t s = 0; s < selections; ++s) {
      const int64_t slot = args.slot.row(t)[s];
      if (args.share.Has(slot)) mine.push_back({args.share.InMemory(slot), t, s});
    }
    std::stable_sort(mine.begin(), mine.end(),
                     [](const Use& a, const Use& b) { return a.slot < b.slot; });
    for (const Use& use : mine) {
      const float a = PreScore(args, t, use.selection, use.slot);
      const int32_t group = args.expand_groups > 1 ? args.group.row(t)[use.selection] : 0;
      float* y = args.y.row(t) + int64_t{group} * width;
      for (int32_t d = 0; d < width; ++d) {
        const int32_t core = (args.first_col + d) / slice;
        const float weight = args.weight.row(t)[use.selection * args.cores + core] * a;
        y[d] += weight * RowElement(args.table, use.slot, args.table.value_start() + d);
      }
    }
    uses.insert(uses.end(), mine.begin(), mine.end());
  }
  // Distinct rows, and for each the distinct tokens that use it.
  std::sort(uses.begin(), uses.end(), [](const Use& a, const Use& b) {
    return a.slot != b.slot ? a.slot < b.slot : a.token < b.token;
  });
  int64_t distinct = 0;
  for (size_t begin = 0, end = 0; begin < uses.size(); begin = end) {
    std::vector<int64_t> users;
    for (; end < uses.size() && uses[end].slot == uses[begin].slot; ++end) {
      if (users.empty() || users.back() != uses[end].token) users.push_back(uses[end].token);
    }
    ++distinct;
    for (int64_t user : users) {
      if (args.token_bytes == nullptr) break;
      args.token_bytes[user] +=
          static_cast<double>(args.table.row_bytes()) / static_cast<double>(users.size());
    }
  }
  return ValueGatherTraffic(args, static_cast<int64_t>(uses.size()), distinct);
}

}  // namespace mneme::kernels
