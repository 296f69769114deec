// `mneme eval`: logits, what the memory layers and routers chose, and greedy tokens of given
// sequences, through the same schedule, plan and kernels as serving.
#ifndef MNEME_CLIENTS_CLI_EVALUATION_H_
#define MNEME_CLIENTS_CLI_EVALUATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/plan_model.h"

namespace mneme::cli {

// Token ids [sequences, length].
struct IdMatrix {
  int64_t sequences = 0;
  int64_t length = 0;
  std::vector<int32_t> ids;

  std::vector<int32_t> Row(int64_t sequence) const {
    return {ids.begin() + sequence * length, ids.begin() + (sequence + 1) * length};
  }
};

struct EvalOptions {
  ModelOptions model;  // `trace` is set from the field below
  std::string ids_path;
  std::string out_path;
  bool trace = false;
  int32_t greedy_tokens = 0;
};

// Reads `input_ids` [B, T] int64 of ids_path and writes, atomically, to out_path:
//   logits [B, T, embedding_size] f32
//   with trace, per memory layer i that is computed, over the B*T tokens flattened:
//     mem_grid_index.i [B*T, heads*k] i64, mem_score.i [B*T, heads*k, cores] f32 (Memory+:
//     [B*T, heads*k]), mem_out.i [B*T, dim] f32
//   with trace, per block l that has experts: router_topk.l [B*T, k] i64, best first, and
//     router_weight.l [B*T, k] f32, what their outputs are multiplied by
//   with greedy_tokens = N: greedy [B', N] i64, the continuations of `greedy_prompt` [B', T'] where
//     the file has one, else of input_ids; an end-of-sequence token does not end them.
// Errors name the file, the tensor and the values.
absl::Status Evaluate(const EvalOptions& options);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_EVALUATION_H_
