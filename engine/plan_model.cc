#include "engine/plan_model.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/memory_transformer.h"
#include "engine/kv_blocks.h"
#include "engine/plan/choose_layouts.h"
#include "engine/plan/compile.h"
#include "kernels/device/host_cores.h"
#include "kernels/device/host_memory.h"
#include "loader/families/shapes.h"
#include "loader/pack/in_place.h"

namespace mneme {
namespace {

constexpr int64_t kDefaultLogitRows = 64;

v1::ElementType ElementOf(loader::StoredDType stored, const ModelOptions& options) {
  const bool bf16 =
      options.round_to_bf16 || (stored == loader::StoredDType::kBf16 && !options.widen_to_f32);
  return bf16 ? v1::BF16 : v1::F32;
}

// Types by weight; `checkpoint` outlives them.
graph::WeightTypes TypesOf(const loader::Checkpoint& checkpoint, const ModelOptions& options) {
  return [&checkpoint, &options](const loader::WeightId& id) {
    const auto found = checkpoint.weights.find(id);
    // RoPE tables come from no tensor.
    if (found == checkpoint.weights.end() || found->second.parts.empty()) return v1::F32;
    return ElementOf(loader::DTypeOf(found->second), options);
  };
}

// All but the KV cache's size, which is one block.
absl::StatusOr<v1::StepLimits> LeastLimits(const ModelOptions& options,
                                           const loader::ModelDescription& model) {
  for (const auto& [name, value] : {std::pair("kv_block_tokens", options.kv_block_tokens),
                                    std::pair("max_sequences", options.max_sequences),
                                    std::pair("max_step_tokens", options.max_step_tokens)}) {
    if (value < 1) {
      return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, ", must be at least 1"));
    }
  }
  v1::StepLimits limits;
  limits.set_max_tokens(options.max_step_tokens);
  limits.set_max_sequences(options.max_sequences);
  limits.set_max_logit_rows(static_cast<int32_t>(std::max<int64_t>(
      options.max_sequences, std::min<int64_t>(kDefaultLogitRows, options.max_step_tokens))));
  limits.set_max_positions(static_cast<int32_t>(model.max_sequence_length));
  limits.set_kv_blocks(1);
  limits.set_kv_block_tokens(options.kv_block_tokens);
  return limits;
}

absl::Status LimitContext(int64_t max_model_len, loader::ModelDescription* model) {
  if (max_model_len == 0) return absl::OkStatus();
  if (max_model_len < 1 || max_model_len > model->max_sequence_length) {
    return absl::InvalidArgumentError(absl::StrCat("max_model_len is ", max_model_len,
                                                   ", the model was made for 1 to ",
                                                   model->max_sequence_length, " tokens"));
  }
  model->max_sequence_length = max_model_len;
  return absl::OkStatus();
}

// Bytes of weights that are made in memory. The rest is used in place.
int64_t MadeWeightBytes(const PlannedModel& planned, const loader::PackOptions& options) {
  int64_t bytes = 0;
  for (const v1::Weight& w : planned.plan.weights()) {
    const loader::WeightId id{static_cast<loader::Role>(w.role()), w.layer()};
    if (!w.shared_with().empty()) continue;
    if (!loader::StaysInPlace(planned.checkpoint, id, {}, options)) bytes += w.bytes();
  }
  return bytes;
}

// weights: bytes of them that are made in memory.
absl::Status CheckMemory(const v1::Plan& plan, int64_t weights) {
  const int64_t available = kernels::AvailableHostMemory();
  v1::RankMemory memory;
  for (const v1::RankMemory& rank : plan.memory()) {
    memory.set_kv_bytes(memory.kv_bytes() + rank.kv_bytes());
    memory.set_arena_bytes(memory.arena_bytes() + rank.arena_bytes());
  }
  if (available == 0 || weights + memory.kv_bytes() + memory.arena_bytes() <= available) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("the model needs ", weights,
                   " bytes of memory for value tables and other weights that are "
                   "not used in place, ",
                   memory.kv_bytes(), " for the KV cache and ", memory.arena_bytes(),
                   " for registers; ", available, " are free"));
}

std::string ModelName(const std::string& directory) {
  std::filesystem::path path(directory);
  if (!path.has_filename()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name.empty() || name == "." ? directory : name;
}

absl::StatusOr<graph::Graph> BuildGraph(const graph::WeightTypes& types,
                                        const ModelOptions& options,
                                        loader::ModelDescription* model) {
  if (absl::Status s = LimitContext(options.max_model_len, model); !s.ok()) return s;
  graph::Graph graph = graph::BuildMemoryTransformer(*model, types);
  if (const std::string error = graph::Validate(graph); !error.empty()) {
    return absl::InternalError(absl::StrCat("graph of ", graph.architecture, ": ", error));
  }
  return graph;
}

// The cluster's ranks as they are run: processes do not share what they hold, and those of one host
// divide its memory.
plan::Cluster AsRun(const ModelOptions& options, plan::Cluster cluster) {
  if (options.process.processes > 0 && cluster.shared_memory) {
    cluster.shared_memory = false;
    if (options.process.hosts.empty()) cluster.memory[0].bytes /= options.process.processes;
  }
  if (options.memory_per_rank_bytes > 0) {
    cluster.memory[0].bytes =
        options.memory_per_rank_bytes * (cluster.shared_memory ? cluster.ranks() : 1);
  }
  return cluster;
}

// What ranks cost, by their number.
plan::CostModel CostOfRanks(const ModelOptions& options, int32_t ranks) {
  if (options.cluster.has_value()) {
    const absl::StatusOr<plan::Cluster> cluster = plan::WithRanks(*options.cluster, ranks);
    return plan::CostOf(AsRun(options, cluster.ok() ? *cluster : *options.cluster));
  }
  plan::CostModel cost = options.cost;
  if (options.process.processes > 0) cost.shared_memory = false;
  if (options.memory_per_rank_bytes > 0) {
    cost.memory_bytes = options.memory_per_rank_bytes * (cost.shared_memory ? ranks : 1);
  }
  return cost;
}

// 0: as many as pay.
int32_t RanksOf(const ModelOptions& options) {
  return options.process.processes != 0 ? options.process.processes : options.ranks;
}

absl::Status CheckExecutable(const ModelOptions& options) {
  if (!options.cluster.has_value()) return absl::OkStatus();
  const plan::Cluster& c = *options.cluster;
  if (c.axes.size() > 1) {
    return absl::UnimplementedError(absl::StrCat(
        "the cluster ", c.name, " has two axes, ", c.axes[0].name, " of ", c.axes[0].ranks, " and ",
        c.axes[1].name, " of ", c.axes[1].ranks, ": this runtime executes plans of one"));
  }
  if (c.device != "cpu") {
    return absl::UnimplementedError(absl::StrCat("the cluster ", c.name, " has ranks of ", c.device,
                                                 ": this runtime executes plans of cpu"));
  }
  return absl::OkStatus();
}

absl::StatusOr<plan::PlanReport> Report(const std::string& name, const graph::WeightTypes& types,
                                        const ModelOptions& options, bool runner_ups,
                                        const plan::Cluster* measured,
                                        loader::ModelDescription* model) {
  const absl::StatusOr<graph::Graph> graph = BuildGraph(types, options, model);
  if (!graph.ok()) return graph.status();
  const int32_t ranks = RanksOf(options);
  absl::StatusOr<plan::Cluster> cluster =
      plan::WithRanks(*options.cluster, ranks == 0 ? options.cluster->ranks() : ranks);
  if (!cluster.ok()) return cluster.status();
  cluster = AsRun(options, *cluster);
  int64_t position_bytes = 0;
  for (const graph::KvLayer& kv : graph->kv_layers) {
    position_bytes += int64_t{8} * kv.kv_heads * kv.head_dim;
  }
  plan::ReportOptions report;
  report.model_name = name;
  report.context = std::min<int64_t>(report.context, model->max_sequence_length - 1);
  report.kv_positions = options.kv_cache_bytes / std::max<int64_t>(1, position_bytes);
  report.step_tokens = options.max_step_tokens;
  report.runner_ups = runner_ups;
  report.pins = options.pins;
  if (measured == nullptr) return plan::MakeReport(*graph, *cluster, report);
  report.planned_for = &*cluster;
  absl::StatusOr<plan::Cluster> priced = plan::WithRanks(*measured, cluster->ranks());
  if (!priced.ok()) return priced.status();
  priced = AsRun(options, *priced);
  return plan::MakeReport(*graph, *priced, report);
}

v1::ElementType ShapeWeights(const loader::WeightId& /*id*/) { return v1::BF16; }

absl::StatusOr<int32_t> ChooseRanks(const graph::Graph& graph, const ModelOptions& options,
                                    const plan::CompileOptions& compile) {
  if (RanksOf(options) != 0) return RanksOf(options);
  int32_t most = std::min(kernels::UsableCores(), plan::kMaxRanks);
  if (options.cluster.has_value()) most = std::min(most, options.cluster->ranks());
  return plan::ChooseRanks(graph, compile, most,
                           [&](int32_t n) { return CostOfRanks(options, n); });
}

// The plan with its KV cache. What a block takes depends on how the plan splits heads: `least` is
// one with as many blocks as there must be.
absl::StatusOr<v1::Plan> WithKvCache(const graph::Graph& graph, const ModelOptions& options,
                                     bool measure, plan::CompileOptions compile, v1::Plan least) {
  const KvBudget budget = {.cache_bytes = options.kv_cache_bytes,
                           .max_sequences = options.max_sequences,
                           .free_bytes = kernels::AvailableHostMemory(),
                           .measure = measure};
  absl::StatusOr<int32_t> blocks = KvBlocks(least, compile.cost, budget);
  if (!blocks.ok()) return blocks.status();
  // A cache of a given size may leave the weights less than they have here.
  if (!KvBlocksFit(least, compile.cost, *blocks)) {
    compile.limits.set_kv_blocks(*blocks);
    absl::StatusOr<v1::Plan> again = plan::Compile(graph, compile);
    if (!again.ok()) return again;
    blocks = KvBlocks(*again, compile.cost, budget);
    if (!blocks.ok()) return blocks.status();
    *blocks = std::min(*blocks, compile.limits.kv_blocks());
    least = *std::move(again);
  }
  SetKvBlocks(*blocks, &least);
  return least;
}

// Graph and plan of planned->checkpoint's model. measure: as of KvBudget; it has weights.
absl::Status CompileModel(const std::string& name, const graph::WeightTypes& types,
                          const ModelOptions& options, bool measure, PlannedModel* planned) {
  loader::ModelDescription& model = planned->checkpoint.model;
  if (absl::Status s = CheckExecutable(options); !s.ok()) return s;
  const absl::StatusOr<graph::Graph> graph = BuildGraph(types, options, &model);
  if (!graph.ok()) return graph.status();
  absl::StatusOr<v1::StepLimits> limits = LeastLimits(options, model);
  if (!limits.ok()) return limits.status();
  // One context must fit, unless the cache is to be smaller.
  const bool limited = CostOfRanks(options, 1).memory_bytes > 0 && options.kv_cache_bytes == 0;
  if (limited) limits->set_kv_blocks(static_cast<int32_t>(BlocksOfSequence(*limits)));
  plan::CompileOptions compile;
  compile.model_name = name;
  compile.cluster.set_device("cpu");
  compile.cluster.set_isa(kernels::IsaName(options.isa.value_or(kernels::DetectIsa())));
  compile.pins = options.pins;
  compile.limits = *limits;
  compile.keep_trace = options.trace;
  const auto with_context = [&](const absl::Status& status) {
    if (!limited || !absl::IsResourceExhausted(status)) return status;
    return absl::ResourceExhaustedError(
        absl::StrCat(std::string(status.message()), "; with the KV cache of one sequence of ",
                     limits->max_positions(), " tokens: max_model_len serves shorter ones"));
  };
  const absl::StatusOr<int32_t> ranks = ChooseRanks(*graph, options, compile);
  if (!ranks.ok()) return with_context(ranks.status());
  compile.cluster.set_name(absl::StrCat(*ranks, "xcpu"));
  compile.cluster.set_ranks(*ranks);
  compile.cost = CostOfRanks(options, *ranks);
  absl::StatusOr<v1::Plan> least = plan::Compile(*graph, compile);
  if (!least.ok()) return with_context(least.status());
  absl::StatusOr<v1::Plan> plan =
      WithKvCache(*graph, options, measure, std::move(compile), *std::move(least));
  if (!plan.ok()) return plan.status();
  planned->plan = *std::move(plan);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PlannedModel> PlanModel(const ModelOptions& options) {
  absl::StatusOr<loader::Checkpoint> checkpoint =
      loader::InspectCheckpoint(options.model_directory, options.inspect);
  if (!checkpoint.ok()) return checkpoint.status();
  PlannedModel planned;
  planned.checkpoint = std::move(*checkpoint);
  absl::Status status =
      CompileModel(ModelName(options.model_directory), TypesOf(planned.checkpoint, options),
                   options, /*measure=*/true, &planned);
  if (!status.ok()) return status;
  return planned;
}

absl::StatusOr<plan::PlanReport> ReportModel(const ModelOptions& options, bool runner_ups) {
  absl::StatusOr<loader::Checkpoint> checkpoint =
      loader::InspectCheckpoint(options.model_directory, options.inspect);
  if (!checkpoint.ok()) return checkpoint.status();
  return Report(ModelName(options.model_directory), TypesOf(*checkpoint, options), options,
                runner_ups, /*measured=*/nullptr, &checkpoint->model);
}

absl::StatusOr<plan::PlanReport> ReportShape(const std::string& shape, int64_t layers,
                                             const ModelOptions& options, bool runner_ups,
                                             const plan::Cluster* measured) {
  absl::StatusOr<loader::ModelDescription> model = loader::DescribeShape(shape, layers);
  if (!model.ok()) return model.status();
  return Report(shape, ShapeWeights, options, runner_ups, measured, &*model);
}

absl::StatusOr<PlannedModel> PlanShape(const std::string& shape, int64_t layers,
                                       const ModelOptions& options) {
  absl::StatusOr<loader::ModelDescription> model = loader::DescribeShape(shape, layers);
  if (!model.ok()) return model.status();
  absl::StatusOr<PlannedModel> planned =
      PlanDescription(shape, *std::move(model), v1::BF16, options);
  if (!planned.ok()) return planned;
  planned->shape = shape;
  planned->layers = layers;
  return planned;
}

absl::StatusOr<PlannedModel> PlanDescription(const std::string& name,
                                             loader::ModelDescription model,
                                             v1::ElementType matrices,
                                             const ModelOptions& options) {
  PlannedModel planned;
  planned.checkpoint.model = std::move(model);
  const auto type = [matrices](const loader::WeightId&) { return matrices; };
  absl::Status status = CompileModel(name, type, options, /*measure=*/false, &planned);
  if (!status.ok()) return status;
  return planned;
}

absl::StatusOr<loader::PackedWeights> GenerateModel(const PlannedModel& planned, uint64_t seed) {
  int64_t bytes = 0;
  std::vector<loader::GeneratedWeight> weights;
  for (const v1::Weight& w : planned.plan.weights()) {
    if (!w.shared_with().empty()) continue;
    bytes += w.bytes();
    weights.push_back(
        {.id = {static_cast<loader::Role>(w.role()), w.layer()},
         .dtype = w.type() == v1::BF16  ? kernels::DType::kBf16
                  : w.type() == v1::I32 ? kernels::DType::kI32
                                        : kernels::DType::kF32,
         .rows = w.shape(0),
         .cols = w.shape(1),
         .table_row_bytes = w.value_table() ? w.bytes() / w.shape(0) : 0,
         .stack = w.stack(),
         .pre_cols = w.value_table() ? planned.checkpoint.model.memory->pre_value_dim : 0,
         .part = false});
  }
  if (absl::Status status = CheckMemory(planned.plan, bytes); !status.ok()) return status;
  return loader::PackedWeights::Generate(planned.checkpoint.model, weights, seed);
}

loader::PackOptions PackOptionsOf(const ModelOptions& options) {
  return {.round_to_bf16 = options.round_to_bf16,
          .widen_to_f32 = options.widen_to_f32,
          .copy_mapped = options.huge_pages};
}

absl::StatusOr<loader::PackedWeights> PackModel(const PlannedModel& planned,
                                                const ModelOptions& options) {
  const loader::PackOptions pack = PackOptionsOf(options);
  absl::Status status = CheckMemory(planned.plan, MadeWeightBytes(planned, pack));
  if (!status.ok()) return status;
  std::vector<loader::WeightId> ids;
  for (const v1::Weight& w : planned.plan.weights()) {
    if (!w.shared_with().empty()) continue;
    ids.push_back({static_cast<loader::Role>(w.role()), w.layer()});
  }
  return loader::PackedWeights::Pack(planned.checkpoint, ids, pack);
}

}  // namespace mneme
