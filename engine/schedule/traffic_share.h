// Divides what a step moved among its spans. Value rows, experts and KV reads fall to the tokens
// that asked for them, as the executor counted; what only logit rows caused is divided among those
// rows; all the rest equally among the step's tokens. The shares of all spans sum to the step.
#ifndef MNEME_ENGINE_SCHEDULE_TRAFFIC_SHARE_H_
#define MNEME_ENGINE_SCHEDULE_TRAFFIC_SHARE_H_

#include <array>
#include <cstdint>
#include <span>

#include "engine/engine.h"
#include "engine/runtime/executor.h"

namespace mneme::schedule {

class TrafficShare {
 public:
  // `result` outlives this. tokens >= 1 and logit_rows >= 0 are the step's.
  TrafficShare(const runtime::StepResult& result, int32_t tokens, int32_t logit_rows);

  // Adds the share of rows [first_row, first_row + rows), of which logit_rows have logits.
  void Add(int32_t first_row, int32_t rows, int32_t logit_rows, RequestUsage* usage) const;

 private:
  using Bytes = std::array<double, kernels::kTrafficClasses>;

  // Of the classes whose reads are the tokens' own.
  struct Own {
    kernels::TrafficClass of;
    std::span<const double> bytes;  // by token; empty: not counted
  };

  std::array<Own, 3> own_;
  Bytes read_per_token_{};
  Bytes written_per_token_{};
  Bytes read_per_logit_row_{};
  Bytes written_per_logit_row_{};
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_TRAFFIC_SHARE_H_
