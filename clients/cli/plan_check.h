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
  // Medians of the rounds; of the ratios, too: what disturbs a round disturbs all that is in it.
  double predicted_seconds = 0;
  double measured_seconds = 0;
  double ratio = 0;
};

struct PlanCheckOptions {
  std::string shape;
  int64_t layers = 2;     // the first ones; weights are made up
  bool all_ranks = true;  // on one rank and on all that are calibrated; else on one
  int32_t rounds = 3;     // of measurement, between calibrations
  int32_t steps = 12;     // of one sequence in a round; of longer steps fewer
};

// Runs decode steps of 1, 8 and 32 sequences and a prefill of 512 tokens of the shape, planned by
// the first calibration, with the executor that a server would have: on one rank and on all, which
// are threads, or as model.process has it on as many processes. Beside a round's medians is put
// what they should take by the calibrations before and after it. calibrate: measures the machine,
// each time with the same options. model: options of the plans; ranks and limits are set here.
// Errors: those of calibrate, PlanShape, ReportShape, GenerateModel and MakeExecutor.
absl::StatusOr<std::vector<CheckedStep>> CheckPlan(
    const PlanCheckOptions& options,
    const std::function<absl::StatusOr<plan::Cluster>()>& calibrate, ModelOptions model);

// A line for each step, then whether it is passed: ratios lie within
// [1 - tolerance, 1 / (1 - tolerance)].
bool PrintCheck(const std::vector<CheckedStep>& steps, double tolerance, std::ostream& out);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_PLAN_CHECK_H_
