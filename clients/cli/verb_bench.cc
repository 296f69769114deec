#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/cli/local_server.h"
#include "clients/cli/model_bench.h"
#include "clients/cli/model_flags.h"
#include "clients/cli/shape_flags.h"
#include "clients/cli/startup_bench.h"
#include "clients/cli/verbs.h"
#include "engine/make_executor.h"
#include "engine/rank_weights.h"
#include "loader/native/native_checkpoint.h"

namespace mneme::cli {
namespace {

constexpr uint64_t kSeed = 1;  // of made-up weights

// Of the model, or of the front's rank.
absl::StatusOr<loader::PackedWeights> Weights(const PlannedModel& planned,
                                              const ModelOptions& options) {
  const bool made_up = !planned.shape.empty();
  if (options.process.processes > 1) {
    return made_up ? GenerateRank(planned, kSeed, 0) : PackRank(planned, options, 0);
  }
  return made_up ? GenerateModel(planned, kSeed) : PackModel(planned, options);
}

// runtime: its own cost, in place of the steps'.
absl::Status Bench(const Invocation& invocation, const ModelFlags& model, const ShapeFlags& shape,
                   ModelBenchOptions bench, bool runtime) {
  const absl::StatusOr<PlannedModel> planned = shape.Plan(model, invocation.executable);
  if (!planned.ok()) return planned.status();
  const absl::StatusOr<ModelOptions> options = model.ToOptions();
  if (!options.ok()) return options.status();
  const absl::StatusOr<loader::PackedWeights> weights = Weights(*planned, *options);
  if (!weights.ok()) return weights.status();
  const auto executor = MakeExecutor(*planned, *weights, *options, kSeed);
  if (!executor.ok()) return executor.status();
  const int32_t ranks = planned->plan.cluster().ranks();
  bench.ranks = ranks;
  invocation.out << planned->plan.model() << ", " << planned->checkpoint.model.layers
                 << " layers, instructions " << planned->plan.cluster().isa() << ", " << ranks
                 << (ranks == 1                       ? " rank"
                     : options->process.processes > 1 ? " processes"
                                                      : " ranks")
                 << ", context " << bench.context << ", " << bench.steps << " steps each\n";
  const auto vocab = static_cast<int32_t>(planned->checkpoint.model.vocab_size);
  if (!runtime) return BenchModel(bench, vocab, executor->get(), invocation.out);
  ModelOptions nothing = *options;
  nothing.empty_operators = true;
  const auto empty = MakeExecutor(*planned, *weights, nothing, kSeed);
  if (!empty.ok()) return empty.status();
  return BenchRuntime(bench, vocab, executor->get(), empty->get(), invocation.out);
}

// A converted model, mapped and copied.
absl::Status Pages(const Invocation& invocation, ModelFlags model, ModelBenchOptions bench) {
  const absl::StatusOr<std::string> directory = ModelOrDemo(model, invocation.executable);
  if (!directory.ok()) return directory.status();
  model.model = *directory;
  if (!loader::IsNative(model.model)) {
    return absl::InvalidArgumentError(absl::StrCat(
        model.model,
        " is not converted, so nothing of it is mapped as it is served: `mneme convert ",
        model.model, " OUT` first"));
  }
  model.huge_pages = false;
  const absl::StatusOr<ModelOptions> mapped = model.ToOptions();
  if (!mapped.ok()) return mapped.status();
  ModelOptions copied = *mapped;
  copied.huge_pages = true;
  const absl::StatusOr<PlannedModel> planned = PlanModel(*mapped);
  if (!planned.ok()) return planned.status();
  absl::StatusOr<loader::PackedWeights> weights[] = {Weights(*planned, *mapped),
                                                     Weights(*planned, copied)};
  for (const auto& packed : weights) {
    if (!packed.ok()) return packed.status();
  }
  const auto reads_mapped = MakeExecutor(*planned, *weights[0], *mapped, kSeed);
  if (!reads_mapped.ok()) return reads_mapped.status();
  const auto reads_copied = MakeExecutor(*planned, *weights[1], copied, kSeed);
  if (!reads_copied.ok()) return reads_copied.status();
  invocation.out << absl::StrFormat(
      "%.2f GB of copies beside %.2f GB of files, %d ranks\n",
      static_cast<double>(weights[1]->owned_bytes()) / 1e9,
      static_cast<double>(planned->checkpoint.files->file_bytes()) / 1e9,
      planned->plan.cluster().ranks());
  const auto vocab = static_cast<int32_t>(planned->checkpoint.model.vocab_size);
  return BenchPages(bench, vocab, reads_mapped->get(), reads_copied->get(), invocation.out);
}

absl::Status Startup(const Invocation& invocation, const ModelFlags& model,
                     const std::string& folder, int32_t runs) {
  absl::StatusOr<std::string> directory = folder.empty() ? ModelOrDemo(model, invocation.executable)
                                                         : MakeStartupModel(folder, invocation.out);
  if (!directory.ok()) return directory.status();
  StartupOptions options;
  options.executable = "/proc/self/exe";
  options.model = *std::move(directory);
  options.runs = runs;
  options.arguments = {absl::StrCat("--ranks=", model.processes > 0 ? 0 : model.ranks),
                       absl::StrCat("--processes=", model.processes),
                       absl::StrCat("--max-model-len=", model.max_model_len),
                       absl::StrCat("--weights=", model.weights)};
  if (model.huge_pages) options.arguments.emplace_back("--huge-pages");
  return BenchStartup(options, invocation.out);
}

// A flag that was given, and that this kind of measurement does not look at; "" if there is none.
std::string FlagOfAnother(const std::vector<std::string>& what, const FlagTable& flags) {
  const std::map<std::string, std::vector<std::string>> unused = {
      {"model", {"made-up", "runs"}},
      {"pages", {"shape", "layers", "made-up", "runs", "empty-operators", "huge-pages"}},
      {"startup", {"shape", "layers", "batch", "context", "prefill", "steps", "empty-operators"}}};
  if (what.size() != 1 || unused.count(what[0]) == 0) return "";
  for (const std::string& flag : unused.at(what[0])) {
    if (flags.given(flag)) return flag;
  }
  return "";
}

}  // namespace

int RunBench(const Invocation& invocation) {
  ModelFlags model;
  ShapeFlags shape;
  ModelBenchOptions bench;
  int32_t batch = 0;
  bool empty_operators = false;
  int32_t runs = 5;
  std::string folder;
  FlagTable flags(
      "bench", "model|pages|startup",
      "Times the steps of a model without schedule and gRPC: decode at several batch "
      "sizes and a prefill, with the bytes read, the machine's limit and the time by "
      "operator. A shape gets made-up weights. `bench startup` times `serve` instead, from "
      "its exec to the first token, with the model's files in the page cache. `bench "
      "pages` times steps by turns with a converted model's weights mapped and in "
      "copies on huge pages.");
  model.AddTo(&flags, "The checkpoint. Without it and --shape: the demo model.");
  shape.AddTo(&flags);
  flags.Add("batch", &batch, {0, 4096}, "B", "Sequences of a decode step; 0: 1, 8 and 32.");
  flags.Add("context", &bench.context, {0, 1 << 24}, "N",
            "Tokens that each sequence has before a decode step.");
  flags.Add("prefill", &bench.prefill, {0, 1 << 20}, "N", "Tokens of the prefill; 0: none.");
  flags.Add("steps", &bench.steps, {1, 1 << 20}, "N", "Steps of each kind.");
  flags.Add(
      "made-up", &folder, "DIR",
      "`bench startup` of a model of 4 GB that it makes in this folder, which takes some 5 GB "
      "of disk and is used again.");
  flags.Add("runs", &runs, {1, 1000}, "N", "Starts of `bench startup`.");
  flags.Add("empty-operators", &empty_operators,
            "Measure the runtime's own cost instead: steps by turns as they are and with operators "
            "that do nothing, though ranks exchange.");
  int exit_status = 0;
  if (!ParseFlags(invocation, &flags, 1, &exit_status)) return exit_status;
  const std::vector<std::string>& what = flags.positionals();
  if (const std::string other = FlagOfAnother(what, flags); !other.empty()) {
    return Fail(invocation, "bench",
                absl::InvalidArgumentError(absl::StrCat("--", other, " is not for ", what[0])));
  }
  if (what == std::vector<std::string>{"startup"}) {
    const absl::Status status = Startup(invocation, model, folder, runs);
    return status.ok() ? 0 : Fail(invocation, "bench", status);
  }
  if (batch > 0) bench.batches = {batch};
  if (what == std::vector<std::string>{"pages"}) {
    const absl::Status status = Pages(invocation, model, bench);
    return status.ok() ? 0 : Fail(invocation, "bench", status);
  }
  if (what != std::vector<std::string>{"model"}) {
    return Fail(invocation, "bench",
                absl::InvalidArgumentError("what to measure: model, pages or startup"));
  }
  const absl::Status status = Bench(invocation, model, shape, bench, empty_operators);
  return status.ok() ? 0 : Fail(invocation, "bench", status);
}

}  // namespace mneme::cli
