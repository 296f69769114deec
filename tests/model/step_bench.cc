// Steps of a model, without schedule or gRPC: decode at several batch sizes and a
// prefill, each with its median time, the bytes it moved against the speed at which this machine
// reads as many bytes, the runtime's own share, and the time per operator.
//
//   step_bench [MODEL_DIRECTORY [CONTEXT [RANKS]]]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "engine/plan_model.h"
#include "engine/runtime/local_executor.h"
#include "kernels/simd/machine_limits.h"

namespace mneme {
namespace {

constexpr int32_t kSteps = 200;

class Bench {
 public:
  Bench(runtime::LocalExecutor* executor, int32_t vocab) : executor_(*executor), vocab_(vocab) {}

  // Steps of `rows` tokens of each of `sequences` sequences, at positions `context` and following;
  // logits of the last row of each.
  void Run(const char* name, int32_t sequences, int32_t context, int32_t rows) {
    const std::vector<runtime::ActorProfile> before = executor_.rank(0).Profile();
    std::vector<double> seconds;
    double runtime_seconds = 0;
    kernels::Traffic traffic;
    for (int32_t i = 0; i < kSteps; ++i) {
      Fill(executor_.NextStep(), sequences, context, rows, /*tables=*/i == 0);
      executor_.Submit();
      const runtime::StepResult& result = executor_.Wait();
      seconds.push_back(result.step_seconds);
      runtime_seconds += result.runtime_seconds;
      traffic = result.traffic;
      executor_.Release();
    }
    const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    const uint64_t read =
        std::accumulate(traffic.read_bytes.begin(), traffic.read_bytes.end(), uint64_t{0}) -
        traffic.read_bytes[static_cast<int>(kernels::TrafficClass::kActivations)];
    const double limit = executor_.ranks() * kernels::MeasureReadBandwidth(
                                                 static_cast<int64_t>(read), kernels::DetectIsa());
    const double tokens = sequences * rows;
    std::printf("%-14s %4d x %-4d  %8.1f us  p99 %8.1f us  %8.0f tokens/s  reads %6.2f MB", name,
                sequences, rows, median * 1e6, seconds[seconds.size() * 99 / 100] * 1e6,
                tokens / median, static_cast<double>(read) / 1e6);
    std::printf("  %5.1f GB/s = %3.0f %% of %5.1f  runtime %4.2f %%\n",
                static_cast<double>(read) / median / 1e9,
                100 * static_cast<double>(read) / median / limit, limit / 1e9,
                100 * runtime_seconds / total);
    PrintOperators(before, total);
  }

 private:
  void Fill(runtime::Step* step, int32_t sequences, int32_t context, int32_t rows, bool tables) {
    tokens_.resize(rows);
    const int32_t blocks = (context + rows + executor_.limits().kv_block_tokens - 1) /
                           executor_.limits().kv_block_tokens;
    for (int32_t s = 0; s < sequences; ++s) {
      if (tables) {
        for (int32_t b = 0; b < blocks; ++b) {
          step->AddBlockChange(s, b, (s * blocks + b) % executor_.limits().kv_blocks);
        }
      }
      for (int32_t& token : tokens_) token = static_cast<int32_t>(next_token_++ * 7919 % vocab_);
      step->AddSpan(s, context, tokens_);
      step->AddLogitRow(step->tokens() - 1);
    }
  }

  void PrintOperators(const std::vector<runtime::ActorProfile>& before, double total) {
    std::map<std::string, double> by_kind;
    const std::vector<runtime::ActorProfile> after = executor_.rank(0).Profile();
    for (size_t i = 0; i < after.size(); ++i) {
      by_kind[v1::OperatorKind_Name(after[i].kind)] += after[i].seconds - before[i].seconds;
    }
    std::vector<std::pair<double, std::string>> order;
    for (const auto& [kind, seconds] : by_kind) order.emplace_back(seconds, kind);
    std::sort(order.rbegin(), order.rend());
    for (const auto& [seconds, kind] : order) {
      std::printf("    %-24s %7.1f us  %4.1f %%\n", kind.c_str(), seconds / kSteps * 1e6,
                  100 * seconds / total);
    }
  }

  runtime::LocalExecutor& executor_;
  const int32_t vocab_;
  std::vector<int32_t> tokens_;
  int64_t next_token_ = 1;
};

int Main(int argc, char** argv) {
  ModelOptions options;
  options.model_directory = argc > 1 ? argv[1] : "models/demo/ultramem";
  const int32_t context = argc > 2 ? std::atoi(argv[2]) : 128;
  options.ranks = argc > 3 ? std::atoi(argv[3]) : 1;
  absl::StatusOr<PlannedModel> planned = PlanModel(options);
  if (!planned.ok()) {
    std::fprintf(stderr, "%s\n", planned.status().ToString().c_str());
    return 1;
  }
  absl::StatusOr<loader::PackedWeights> weights = PackModel(*planned, options);
  if (!weights.ok()) {
    std::fprintf(stderr, "%s\n", weights.status().ToString().c_str());
    return 1;
  }
  auto executor = runtime::LocalExecutor::Create(planned->plan, *weights, false);
  if (!executor.ok()) {
    std::fprintf(stderr, "%s\n", executor.status().ToString().c_str());
    return 1;
  }
  Bench bench(executor->get(), static_cast<int32_t>(planned->checkpoint.model.vocab_size));
  std::printf("%s, instructions %s, context %d, %d steps each, on %d rank%s (times of rank 0)\n",
              options.model_directory.c_str(), planned->plan.cluster().isa().c_str(), context,
              kSteps, options.ranks, options.ranks == 1 ? "" : "s");
  for (int32_t sequences : {1, 8, 32}) bench.Run("decode", sequences, context, 1);
  bench.Run("prefill", 1, 0, 64);
  return 0;
}

}  // namespace
}  // namespace mneme

int main(int argc, char** argv) { return mneme::Main(argc, argv); }
