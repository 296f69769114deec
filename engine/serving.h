// From a model directory to a running engine: inspect, plan, pack, execute, schedule.
#ifndef MNEME_ENGINE_SERVING_H_
#define MNEME_ENGINE_SERVING_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/plan_model.h"
#include "loader/checkpoint/checkpoint.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme {

struct ServingOptions : ModelOptions {
  ScheduleOptions schedule;
};

// A part of starting, and how long it took.
struct StartPhase {
  const char* name = "";
  double seconds = 0;
};

// Everything that serves one model. Owns checkpoint, weights, executor, tokenizer and engine.
class Serving {
 public:
  // What the checkpoint should be known for is in checkpoint().model.warnings, also that its
  // tokenizer does not fit the model.
  static absl::StatusOr<std::unique_ptr<Serving>> Create(const ServingOptions& options);
  virtual ~Serving() = default;

  virtual Engine& engine() = 0;
  virtual const loader::Checkpoint& checkpoint() const = 0;
  virtual const v1::Plan& plan() const = 0;
  // Of this process's weights, what was copied; the rest lies in mapped files.
  virtual int64_t copied_weight_bytes() const = 0;
  // What Create did, in order.
  virtual const std::vector<StartPhase>& start_phases() const = 0;
};

}  // namespace mneme

#endif  // MNEME_ENGINE_SERVING_H_
