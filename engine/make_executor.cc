#include "engine/make_executor.h"

#include <utility>

#include "engine/ranks/process_executor.h"
#include "engine/ranks/rank_model.h"
#include "engine/runtime/local_executor.h"

namespace mneme {
namespace {

absl::StatusOr<std::unique_ptr<runtime::Executor>> MakeProcesses(
    const PlannedModel& planned, const loader::PackedWeights& weights, const ModelOptions& options,
    uint64_t seed) {
  v1::RankSetup setup;
  absl::StatusOr<v1::ModelSource> source = ranks::SourceOf(planned);
  if (!source.ok()) return source.status();
  *setup.mutable_source() = *std::move(source);
  setup.mutable_source()->set_seed(seed);
  setup.set_round_to_bf16(options.round_to_bf16);
  setup.set_widen_to_f32(options.widen_to_f32);
  setup.set_huge_pages(options.huge_pages);
  setup.set_reference_kernels(options.reference_kernels);
  setup.set_empty_operators(options.empty_operators);
  ranks::ProcessOptions process;
  process.executable = options.process.executable;
  process.hosts = options.process.hosts;
  process.token = options.process.token;
  process.tcp = options.process.tcp;
  process.bind_host = options.process.bind_host;
  process.build = options.process.build;
  process.rank_timeout_seconds = options.process.rank_timeout_seconds;
  process.log = options.process.log;
  process.hang.seconds = runtime::HangSeconds(planned.plan.longest_step_seconds());
  return ranks::ProcessExecutor::Create(planned.plan, weights, setup, process);
}

}  // namespace

absl::StatusOr<std::unique_ptr<runtime::Executor>> MakeExecutor(
    const PlannedModel& planned, const loader::PackedWeights& weights, const ModelOptions& options,
    uint64_t seed) {
  if (options.process.processes > 1) return MakeProcesses(planned, weights, options, seed);
  if (options.empty_operators) return runtime::LocalExecutor::CreateEmpty(planned.plan, weights);
  runtime::HangOptions hang;
  hang.seconds = runtime::HangSeconds(planned.plan.longest_step_seconds());
  return runtime::LocalExecutor::Create(planned.plan, weights, options.reference_kernels, hang);
}

}  // namespace mneme
