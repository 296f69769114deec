#include "clients/cli/plan_check.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "clients/cli/model_bench.h"
#include "engine/make_executor.h"
#include "engine/plan/readable.h"
#include "engine/rank_weights.h"

namespace mneme::cli {
namespace {

constexpr uint64_t kSeed = 1;  // of made-up weights

// Fewer of steps that take long: four are enough for a median.
int32_t StepsOf(int32_t steps, int64_t tokens) {
  return std::max<int32_t>(4, static_cast<int32_t>(steps / std::max<int64_t>(1, tokens / 16)));
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The shape on some ranks, and what each round gave, by kind of step.
struct Run {
  ModelOptions model;
  int32_t ranks = 1;
  // Ranks of one process share them.
  std::shared_ptr<const loader::PackedWeights> weights;
  std::unique_ptr<runtime::Executor> executor;
  int32_t vocab = 1;
  std::vector<std::string> names;
  std::vector<std::vector<double>> predicted, measured;
};

absl::StatusOr<std::vector<plan::StepReport>> Predict(const PlanCheckOptions& options,
                                                      const ModelOptions& model,
                                                      const plan::Cluster& measured) {
  absl::StatusOr<plan::PlanReport> report =
      ReportShape(options.shape, options.layers, model, /*runner_ups=*/false, &measured);
  if (!report.ok()) return report.status();
  return std::move(report->steps);
}

absl::StatusOr<double> MedianStep(const plan::StepShape& shape, int32_t count, Run* run) {
  runtime::Executor& executor = *run->executor;
  const BenchStep bench = {static_cast<int32_t>(shape.sequences),
                           static_cast<int32_t>(shape.context),
                           static_cast<int32_t>(shape.tokens / shape.sequences)};
  std::vector<double> seconds;
  for (int32_t i = 0; i < count; ++i) {
    FillBenchStep(bench, run->vocab, executor.limits(), /*tables=*/i == 0, executor.NextStep());
    executor.Submit();
    const runtime::StepResult& result = executor.Wait();
    const absl::Status status = result.status;
    seconds.push_back(result.step_seconds);
    executor.Release();
    if (!status.ok()) return status;
  }
  return Median(seconds);
}

absl::StatusOr<Run> Start(const PlanCheckOptions& options, ModelOptions model, int32_t ranks,
                          const std::vector<Run>& others) {
  const bool processes = model.process.processes > 1;
  model.ranks = processes ? 0 : ranks;
  const absl::StatusOr<PlannedModel> planned = PlanShape(options.shape, options.layers, model);
  if (!planned.ok()) return planned.status();
  Run run;
  run.model = model;
  run.ranks = ranks;
  run.vocab = static_cast<int32_t>(planned->checkpoint.model.vocab_size);
  if (!others.empty()) run.weights = others[0].weights;
  if (run.weights == nullptr) {
    absl::StatusOr<loader::PackedWeights> made =
        processes ? GenerateRank(*planned, kSeed, 0) : GenerateModel(*planned, kSeed);
    if (!made.ok()) return made.status();
    run.weights = std::make_shared<const loader::PackedWeights>(*std::move(made));
  }
  auto executor = MakeExecutor(*planned, *run.weights, model, kSeed);
  if (!executor.ok()) return executor.status();
  run.executor = *std::move(executor);
  return run;
}

// Measures, between the calibrations `before` and `*after`, which is made afterwards.
absl::Status Round(const PlanCheckOptions& options,
                   const std::function<absl::StatusOr<plan::Cluster>()>& calibrate,
                   const plan::Cluster& before, std::vector<Run>* runs, plan::Cluster* after) {
  for (Run& run : *runs) {
    const auto steps = Predict(options, run.model, before);
    if (!steps.ok()) return steps.status();
    run.names.clear();
    run.predicted.resize(steps->size());
    run.measured.resize(steps->size());
    for (size_t k = 0; k < steps->size(); ++k) {
      const plan::StepReport& step = (*steps)[k];
      const absl::StatusOr<double> seconds =
          MedianStep(step.shape, StepsOf(options.steps, step.shape.tokens), &run);
      if (!seconds.ok()) return seconds.status();
      run.names.push_back(step.name);
      run.measured[k].push_back(*seconds);
      run.predicted[k].push_back(step.seconds);
    }
  }
  absl::StatusOr<plan::Cluster> again = calibrate();
  if (!again.ok()) return again.status();
  *after = *std::move(again);
  for (Run& run : *runs) {
    const auto steps = Predict(options, run.model, *after);
    if (!steps.ok()) return steps.status();
    for (size_t k = 0; k < steps->size(); ++k) {
      run.predicted[k].back() = (run.predicted[k].back() + (*steps)[k].seconds) / 2;
    }
  }
  return absl::OkStatus();
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
  if (model.process.processes > 1) counts = {model.process.processes};
  std::vector<Run> runs;
  for (int32_t ranks : counts) {
    absl::StatusOr<Run> run = Start(options, model, ranks, runs);
    if (!run.ok()) return run.status();
    runs.push_back(*std::move(run));
  }
  for (int32_t round = 0; round < options.rounds; ++round) {
    plan::Cluster after;
    const absl::Status status = Round(options, calibrate, *cluster, &runs, &after);
    if (!status.ok()) return status;
    *cluster = std::move(after);
  }
  std::vector<CheckedStep> checked;
  for (const Run& run : runs) {
    for (size_t k = 0; k < run.names.size(); ++k) {
      std::vector<double> ratios;
      for (size_t r = 0; r < run.measured[k].size(); ++r) {
        ratios.push_back(run.predicted[k][r] / run.measured[k][r]);
      }
      checked.push_back({run.names[k], run.ranks, Median(run.predicted[k]), Median(run.measured[k]),
                         Median(ratios)});
    }
  }
  return checked;
}

bool PrintCheck(const std::vector<CheckedStep>& steps, double tolerance, std::ostream& out) {
  bool within = true;
  for (const CheckedStep& step : steps) {
    const bool good = step.ratio >= 1 - tolerance && step.ratio <= 1 / (1 - tolerance);
    out << absl::StrFormat("%-15s %2d rank%s predicted %-9s measured %-9s ratio %.2f%s\n",
                           step.name, step.ranks, step.ranks == 1 ? " " : "s",
                           plan::ReadableSeconds(step.predicted_seconds),
                           plan::ReadableSeconds(step.measured_seconds), step.ratio,
                           good ? "" : "  not within the tolerance");
    within = within && good;
  }
  out << absl::StrFormat("%s: predictions %s within %.0f %% of what is measured\n",
                         within ? "passed" : "failed", within ? "are" : "are not", 100 * tolerance);
  return within;
}

}  // namespace mneme::cli
