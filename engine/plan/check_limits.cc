#include "engine/plan/check_limits.h"

#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;

// Kernels number the selections of a step, and steps their block changes, with 32 bits.
constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();

absl::Status CheckCounts(const Graph& graph, const v1::StepLimits& l) {
  const int64_t blocks =
      (int64_t{l.max_positions()} + l.kv_block_tokens() - 1) / l.kv_block_tokens();
  if (blocks * l.max_sequences() > kMaxCount) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_sequences ", l.max_sequences(), " of ", blocks,
                     " KV blocks each (max_positions ", l.max_positions(), ", kv_block_tokens ",
                     l.kv_block_tokens(), ") are more than ", kMaxCount));
  }
  for (const Operator& op : graph.operators) {
    if (op.kind != v1::VALUE_GATHER && op.kind != v1::ROUTER) continue;
    const int64_t selections = op.kind == v1::ROUTER ? op.attributes.router().top_k()
                                                     : op.attributes.gather().selections();
    if (selections * l.max_tokens() > kMaxCount) {
      return absl::InvalidArgumentError(absl::StrCat("max_tokens ", l.max_tokens(), " of ",
                                                     selections, " selections each are more than ",
                                                     kMaxCount));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckLimits(const Graph& graph, const CompileOptions& options) {
  const v1::StepLimits& l = options.limits;
  const auto positive = [](const char* name, int64_t value) {
    return value >= 1 ? absl::OkStatus()
                      : absl::InvalidArgumentError(
                            absl::StrCat(name, " is ", value, ", must be at least 1"));
  };
  for (const absl::Status& status :
       {positive("max_tokens", l.max_tokens()), positive("max_sequences", l.max_sequences()),
        positive("max_logit_rows", l.max_logit_rows()),
        positive("max_positions", l.max_positions()), positive("kv_blocks", l.kv_blocks()),
        positive("kv_block_tokens", l.kv_block_tokens())}) {
    if (!status.ok()) return status;
  }
  if (l.kv_block_tokens() % 16 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv_block_tokens is ", l.kv_block_tokens(), ", must be a multiple of 16"));
  }
  if (l.max_tokens() < l.max_sequences()) {
    return absl::InvalidArgumentError(absl::StrCat("a step of max_tokens ", l.max_tokens(),
                                                   " cannot hold one token of each of ",
                                                   l.max_sequences(), " sequences"));
  }
  if (l.max_logit_rows() < l.max_sequences()) {
    return absl::InvalidArgumentError(absl::StrCat("max_logit_rows ", l.max_logit_rows(),
                                                   " is less than one of each of ",
                                                   l.max_sequences(), " sequences"));
  }
  if (options.cluster.ranks() < 1 || options.cluster.ranks() > kMaxRanks) {
    return absl::InvalidArgumentError(
        absl::StrCat("ranks is ", options.cluster.ranks(), ", must be in [1, ", kMaxRanks, "]"));
  }
  return CheckCounts(graph, l);
}

}  // namespace mneme::plan
