// A plan for a person: what each rank holds, what runs in which order, what a token costs.
#ifndef MNEME_ENGINE_PLAN_EXPLAIN_H_
#define MNEME_ENGINE_PLAN_EXPLAIN_H_

#include <string>

#include "proto/mneme/v1/plan.pb.h"

namespace mneme::plan {

// Several lines of text, each ended by a newline; the same plan gives the same text.
std::string Explain(const v1::Plan& plan);

// Bytes that a decode step of one rank's plan (plan_of_rank.h) reads, by what they depend on:
// exactly what the kernels count as Traffic, but for value rows, experts and exchanges.
struct DecodeBytes {
  int64_t dense_weights = 0;            // of every step: projections, norms, head
  int64_t dense_weights_per_token = 0;  // rows of the embedding and of the RoPE tables
  int64_t keys = 0;                     // of every step: product keys, their norms, cores
  int64_t keys_per_token = 0;           // entries of the shuffle
  int64_t value_rows_per_token = 0;     // at most: selections that name one row are read once
  // At most: experts that several tokens chose are read once, and a rank has only some of them.
  int64_t expert_weights_per_token = 0;
  int64_t kv_per_position = 0;  // of each token: this, times the positions it sees
};
DecodeBytes PredictDecodeBytes(const v1::Plan& plan);

// Hash of the plan as 16 hexadecimal digits. Ranks with different plans must not meet.
std::string PlanHash(const v1::Plan& plan);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_EXPLAIN_H_
