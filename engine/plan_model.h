// From a model directory to a plan: inspect the checkpoint, build the graph, compile it. No weight
// is read yet.
#ifndef MNEME_ENGINE_PLAN_MODEL_H_
#define MNEME_ENGINE_PLAN_MODEL_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/plan/cluster.h"
#include "engine/plan/cost_model.h"
#include "engine/plan/plan_report.h"
#include "kernels/device/isa.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/pack/packed_weights.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme {

// How ranks run as processes, of this host or of several.
struct ProcessSettings {
  int32_t processes = 0;  // one rank each, the front's included; 0: ranks are threads
  // `executable rank` serves a rank; `build` is what it must be of.
  std::string executable;
  std::string build;
  // HOST:PORT of each rank but the front's, and what they are told to know the front by; with hosts
  // `processes` is one more than they are.
  std::vector<std::string> hosts;
  std::string token;
  bool tcp = false;                     // exchange over TCP on one host, too
  std::string bind_host = "127.0.0.1";  // this host in the ranks' network
  // A rank that is not heard of for so long is started again.
  double rank_timeout_seconds = 5;
  // Told what happens to ranks; any thread. May be empty.
  std::function<void(const std::string&)> log;
};

struct ModelOptions {
  std::string model_directory;
  loader::InspectOptions inspect;
  int32_t max_step_tokens = 512;  // rows of a step
  int32_t max_sequences = 64;     // choices that run at a time
  // Tokens of the longest sequence; 0: the checkpoint's max_sequence_length. RoPE tables, block
  // tables and the default KV cache are sized by it.
  int64_t max_model_len = 0;
  // Bytes of the KV cache; 0: what max_sequences full contexts need, but at most a quarter of the
  // memory that is free at start, or one context where that is more.
  int64_t kv_cache_bytes = 0;
  int32_t kv_block_tokens = 16;
  // Threads that share the work of each step, one per core at best; 0: as many as pay by the cost
  // model, at most one per core.
  int32_t ranks = 1;
  ProcessSettings process;  // with processes, `ranks` is as many
  // What the plan assumes of the machine where there is no cluster.
  plan::CostModel cost;
  // The machines that the plan is for. What is executed has one axis of CPU ranks.
  std::optional<plan::Cluster> cluster;
  // Bytes that one rank may hold, in place of what `cluster` says; 0: as it says.
  int64_t memory_per_rank_bytes = 0;
  // What of its layouts is settled beforehand.
  plan::LayoutPins pins;
  // Weights as if they had been stored so; both false: as stored.
  bool round_to_bf16 = false;
  bool widen_to_f32 = false;
  // Weights that could stay where their files are mapped are copied into memory of huge pages.
  bool huge_pages = false;
  bool reference_kernels = false;
  // Steps run, but no operator computes anything: to measure what that costs.
  bool empty_operators = false;
  bool trace = false;  // keep what Executor::Trace reads
  // The lowest common instruction set of all ranks; nullopt: the best this machine has.
  std::optional<kernels::Isa> isa;
};

// A model directory, inspected, with the plan it would be served with.
struct PlannedModel {
  loader::Checkpoint checkpoint;
  std::string shape;   // of PlanShape; else empty
  int64_t layers = 0;  // of PlanShape: the first so many; 0: all
  v1::Plan plan;
};

// Errors name the file and the tensor or field, or the option, and the values.
absl::StatusOr<PlannedModel> PlanModel(const ModelOptions& options);

// A published size (loader/families/shapes.h) in place of a model directory, with its first
// `layers` layers (0: all), weights in bf16. The checkpoint has a model, but no weights:
// GenerateModel makes them up. Errors: those of DescribeShape and PlanModel.
absl::StatusOr<PlannedModel> PlanShape(const std::string& shape, int64_t layers,
                                       const ModelOptions& options);

// Any model that is described, in place of a published size; matrices of the given type.
absl::StatusOr<PlannedModel> PlanDescription(const std::string& name,
                                             loader::ModelDescription model,
                                             v1::ElementType matrices, const ModelOptions& options);

// What a plan of the model would do on options.cluster, with as many ranks as it has (or
// options.ranks): also on clusters that this runtime does not execute. REQUIRES: options.cluster.
// Errors: those of PlanModel and plan::MakeReport.
absl::StatusOr<plan::PlanReport> ReportModel(const ModelOptions& options, bool runner_ups);

// The same of a published size.
// measured: if not null, the prices are of this cluster, the layouts those for options.cluster.
absl::StatusOr<plan::PlanReport> ReportShape(const std::string& shape, int64_t layers,
                                             const ModelOptions& options, bool runner_ups,
                                             const plan::Cluster* measured = nullptr);

// Made-up weights for what one of these two planned; RESOURCE_EXHAUSTED as PackModel.
absl::StatusOr<loader::PackedWeights> GenerateModel(const PlannedModel& planned, uint64_t seed);

// How the options want weights to be packed.
loader::PackOptions PackOptionsOf(const ModelOptions& options);

// The weights that the plan's actors read, packed as it says. RESOURCE_EXHAUSTED with the bytes
// when what must be made in memory (weights that cannot stay where they are mapped, KV cache,
// registers) is more than is free: the system itself would refuse nothing and end the process
// halfway. What stays mapped is the page cache's, which gives it up where others need the memory.
absl::StatusOr<loader::PackedWeights> PackModel(const PlannedModel& planned,
                                                const ModelOptions& options);

}  // namespace mneme

#endif  // MNEME_ENGINE_PLAN_MODEL_H_
