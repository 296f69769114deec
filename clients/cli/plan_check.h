// The planner's predictions against measured steps.
#ifndef MNEME_CLIENTS_CLI_PLAN_CHECK_H_
#define MNEME_CLIENTS_CLI_PLAN_CHECK_H_

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/plan/cluster.h"
#include "engine/plan_model.h"

namespace mneme::cli {

struct CheckedStep {
  std::string name;  // "decode of 8"
  int32_t ranks = 1;
  double predicted_seconds = 0;
  double measured_seconds = 0;  // the fastest: what the machine does while nobody disturbs it
  double ratio() const { return predicted_seconds / measured_seconds; }
};

struct PlanCheckOptions {
  std::string shape;
  int64_t layers = 2;     // the first ones; weights are made up
  bool all_ranks = true;  // on one rank and on all that are calibrated; else on one
  int32_t rounds = 3;     // of calibration and measurement by turns
  int32_t steps = 12;     // of one sequence in a round; of longer steps fewer
};

// Runs decode steps of 1, 8 and 32 sequences and a prefill of 512 tokens of the shape on one rank
// and on all, planned by the first calibration, and puts beside them what they should take by the
// best figures of all calibrations. calibrate: measures the machine, each time with the same
// options. model: options of the plans; ranks and limits are set here. Errors: those of calibrate,
// PlanShape, ReportShape, GenerateModel.
absl::StatusOr<std::vector<CheckedStep>> CheckPlan(
    const PlanCheckOptions& options,
    const std::function<absl::StatusOr<plan::Cluster>()>& calibrate, ModelOptions model);

// A line for each step. Whether all ratios lie within [1 - tolerance, 1 / (1 - tolerance)].
bool PrintCheck(const std::vector<CheckedStep>& steps, double tolerance, std::ostream& out);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_PLAN_CHECK_H_
