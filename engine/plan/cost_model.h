// The numbers by which a plan is priced: what one rank does while all ranks work, and what they
// take to exchange something.
#ifndef MNEME_ENGINE_PLAN_COST_MODEL_H_
#define MNEME_ENGINE_PLAN_COST_MODEL_H_

#include <cstdint>
#include <vector>

#include "engine/plan/cluster.h"

namespace mneme::plan {

// 100 GFLOP/s, whatever the rows.
std::vector<Arithmetic> GuessedArithmetic();

// The defaults are guesses for one core of a server, for plans of which nobody measured anything.
struct CostModel {
  double bytes_per_second = 25e9;
  double row_seconds = 0.1e-6;  // of a random row of a table, beside its bytes
  std::vector<Arithmetic> arithmetic = GuessedArithmetic();
  // Of one exchange over the inner axis, beside its bytes: all ranks meet, and each looks at every
  // other one's count.
  double exchange_seconds = 2.25e-6;
  double exchange_seconds_per_rank = 0.25e-6;  // for each rank but one
  double exchange_bytes_per_second = 25e9;
  Link outer;  // exchanges over the outer axis, if there is one
  // Whether ranks use one copy of the weights. Then memory_bytes is what all have together.
  bool shared_memory = true;
  int64_t memory_bytes = 0;  // of one rank; 0: no limit
  // What a sequence has in its KV cache in the step that layouts are chosen for.
  int64_t context = 512;
};

// What `cluster` says, for all of its ranks.
CostModel CostOf(const Cluster& cluster);

// Seconds that multiply-adds of `rows` rows with `weights` weights take, weights in bf16 or f32.
double ArithmeticSeconds(const CostModel& cost, bool bf16, double rows, double weights);

// The shape of a step: decode steps have one token of each sequence, a prefill many of one.
struct StepShape {
  int64_t tokens = 1;
  int64_t sequences = 1;
  int64_t context = 512;  // positions that each sequence has before the step
  int64_t logit_rows = 1;

  static StepShape Decode(int64_t batch, int64_t context) { return {batch, batch, context, batch}; }
  static StepShape Prefill(int64_t tokens) { return {tokens, 1, 0, 1}; }
};

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_COST_MODEL_H_
