#include "clients/cli/plan_check.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "clients/cli/model_bench.h"
#include "engine/calibrate.h"
#include "engine/plan/readable.h"
#include "engine/runtime/local_executor.h"

namespace mneme::cli {
namespace {

// Fewer of steps that take long: four are enough to meet a quiet moment.
int32_t StepsOf(int32_t steps, int64_t tokens) {
  return std::max<int32_t>(4, static_cast<int32_t>(steps / std::max<int64_t>(1, tokens / 16)));
}

// The shape on some ranks, and the fastest of each kind of step so far.
struct Run {
  ModelOptions model;
  std::unique_ptr<runtime::LocalExecutor> executor;
  std::vector<double> fastest;
};

absl::Status Measure(const PlanCheckOptions& options, const std::vector<plan::StepReport>& steps,
                     int32_t vocab, Run* run) {
  runtime::LocalExecutor& executor = *run->executor;
  run->fastest.resize(steps.size(), std::numeric_limits<double>::infinity());
  for (size_t k = 0; k < steps.size(); ++k) {
    const plan::StepShape& shape = steps[k].shape;
    const BenchStep bench = {static_cast<int32_t>(shape.sequences),
                             static_cast<int32_t>(shape.context),
                             static_cast<int32_t>(shape.tokens / shape.sequences)};
    const int32_t count = StepsOf(options.steps, shape.tokens);
    for (int32_t i = 0; i < count; ++i) {
      FillBenchStep(bench, vocab, executor.limits(), /*tables=*/i == 0, executor.NextStep());
      executor.Submit();
      const runtime::StepResult& result = executor.Wait();
      const absl::Status status = result.status;
      run->fastest[k] = std::min(run->fastest[k], result.step_seconds);
      executor.Release();
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<plan::StepReport>> Predict(const PlanCheckOptions& options,
                                                      const ModelOptions& model,
                                                      const plan::Cluster& measured) {
  absl::StatusOr<plan::PlanReport> report =
      ReportShape(options.shape, options.layers, model, /*runner_ups=*/false, &measured);
  if (!report.ok()) return report.status();
  return std::move(report->steps);
}

}  // namespace

absl::StatusOr<std::vector<CheckedStep>> CheckPlan(
    const PlanCheckOptions& options,
    const std::function<absl::StatusOr<plan::Cluster>()>& calibrate, ModelOptions model) {
  model.max_model_len = 1024;
  model.max_sequences = 32;
  model.max_step_tokens = 512;
  // They read what the reference does not model.
  model.reference_kernels = false;
  absl::StatusOr<plan::Cluster> cluster = calibrate();
  if (!cluster.ok()) return cluster.status();
  model.cluster = *cluster;
  std::vector<int32_t> counts = {1};
  if (options.all_ranks && cluster->ranks() > 1) counts.push_back(cluster->ranks());

  loader::PackedWeights weights;
  std::vector<Run> runs;
  int32_t vocab = 1;
  for (int32_t ranks : counts) {
    model.ranks = ranks;
    const absl::StatusOr<PlannedModel> planned = PlanShape(options.shape, options.layers, model);
    if (!planned.ok()) return planned.status();
    vocab = static_cast<int32_t>(planned->checkpoint.model.vocab_size);
    if (runs.empty()) {
      absl::StatusOr<loader::PackedWeights> made = GenerateModel(*planned, /*seed=*/1);
      if (!made.ok()) return made.status();
      weights = *std::move(made);
    }
    auto executor = runtime::LocalExecutor::Create(planned->plan, weights, false);
    if (!executor.ok()) return executor.status();
    runs.push_back({model, *std::move(executor), {}});
  }
  for (int32_t round = 0; round < options.rounds; ++round) {
    for (Run& run : runs) {
      const auto steps = Predict(options, run.model, *cluster);
      if (!steps.ok()) return steps.status();
      if (absl::Status s = Measure(options, *steps, vocab, &run); !s.ok()) return s;
    }
    const absl::StatusOr<plan::Cluster> again = calibrate();
    if (!again.ok()) return again.status();
    *cluster = FastestOf(*cluster, *again);
  }
  std::vector<CheckedStep> checked;
  for (const Run& run : runs) {
    const auto steps = Predict(options, run.model, *cluster);
    if (!steps.ok()) return steps.status();
    for (size_t k = 0; k < steps->size(); ++k) {
      checked.push_back({(*steps)[k].name, run.model.ranks, (*steps)[k].seconds, run.fastest[k]});
    }
  }
  return checked;
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
