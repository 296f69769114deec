#include "clients/cli/plan_check.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "clients/cli/model_bench.h"
#include "engine/plan/readable.h"
#include "engine/runtime/local_executor.h"

namespace mneme::cli {
namespace {

// Fewer of steps that take long: four are enough to meet a quiet moment.
int32_t StepsOf(int32_t steps, int64_t tokens) {
  return std::max<int32_t>(4, static_cast<int32_t>(steps / std::max<int64_t>(1, tokens / 16)));
}

absl::Status CheckRanks(const PlanCheckOptions& options, const ModelOptions& model,
                        const PlannedModel& planned, const loader::PackedWeights& weights,
                        std::vector<CheckedStep>* steps) {
  const absl::StatusOr<plan::PlanReport> report =
      ReportShape(options.shape, options.layers, model, /*runner_ups=*/false);
  if (!report.ok()) return report.status();
  const auto executor =
      runtime::LocalExecutor::Create(planned.plan, weights, model.reference_kernels);
  if (!executor.ok()) return executor.status();
  const int32_t vocab = static_cast<int32_t>(planned.checkpoint.model.vocab_size);
  for (const plan::StepReport& step : report->steps) {
    BenchStep bench;
    bench.sequences = static_cast<int32_t>(step.shape.sequences);
    bench.context = static_cast<int32_t>(step.shape.context);
    bench.rows = static_cast<int32_t>(step.shape.tokens / step.shape.sequences);
    std::vector<double> seconds;
    const int32_t count = StepsOf(options.steps, step.shape.tokens);
    for (int32_t i = 0; i <= count; ++i) {
      FillBenchStep(bench, vocab, (*executor)->limits(), /*tables=*/i == 0,
                    (*executor)->NextStep());
      (*executor)->Submit();
      const runtime::StepResult& result = (*executor)->Wait();
      const absl::Status status = result.status;
      if (i > 0) seconds.push_back(result.step_seconds);  // the first one warms up
      (*executor)->Release();
      if (!status.ok()) return status;
    }
    steps->push_back(
        {step.name, model.ranks, step.seconds, *std::min_element(seconds.begin(), seconds.end())});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<CheckedStep>> CheckPlan(const PlanCheckOptions& options,
                                                   const plan::Cluster& cluster,
                                                   ModelOptions model) {
  model.cluster = cluster;
  model.max_model_len = 1024;
  model.max_sequences = 32;
  model.max_step_tokens = 512;
  // They read what the reference does not model.
  model.reference_kernels = false;
  std::vector<CheckedStep> steps;
  loader::PackedWeights weights;
  for (size_t i = 0; i < options.ranks.size(); ++i) {
    model.ranks = options.ranks[i];
    const absl::StatusOr<PlannedModel> planned = PlanShape(options.shape, options.layers, model);
    if (!planned.ok()) return planned.status();
    if (i == 0) {
      absl::StatusOr<loader::PackedWeights> made = GenerateModel(*planned, /*seed=*/1);
      if (!made.ok()) return made.status();
      weights = *std::move(made);
    }
    const absl::Status status = CheckRanks(options, model, *planned, weights, &steps);
    if (!status.ok()) return status;
  }
  return steps;
}

bool PrintCheck(const std::vector<CheckedStep>& steps, double tolerance, std::ostream& out) {
  bool within = true;
  for (const CheckedStep& step : steps) {
    const bool good = step.ratio() >= 1 - tolerance && step.ratio() <= 1 / (1 - tolerance);
    out << absl::StrFormat("%-15s %2d rank%s predicted %-9s measured %-9s ratio %.2f%s\n",
                           step.name, step.ranks, step.ranks == 1 ? " " : "s",
                           plan::ReadableSeconds(step.predicted_seconds),
                           plan::ReadableSeconds(step.measured_seconds), step.ratio(),
                           good ? "" : "  not within the tolerance");
    within = within && good;
  }
  return within;
}

}  // namespace mneme::cli
