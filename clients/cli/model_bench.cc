#include "clients/cli/model_bench.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/simd/machine_limits.h"

namespace mneme::cli {
namespace {

double Median(std::vector<double>* values) {
  std::sort(values->begin(), values->end());
  return (*values)[values->size() / 2];
}

class Bench {
 public:
  Bench(const ModelBenchOptions& options, int32_t vocab, runtime::Executor* executor,
        std::ostream& out)
      : options_(options), vocab_(vocab), executor_(*executor), out_(out) {}

  // Steps of `rows` tokens of each of `sequences` sequences, at positions `context` and following;
  // logits of the last row of each.
  void Run(const char* name, int32_t sequences, int32_t context, int32_t rows) {
    const std::vector<runtime::ActorProfile> before = executor_.Profile();
    std::vector<double> seconds;
    double runtime_seconds = 0;
    kernels::Traffic traffic;
    for (int32_t i = 0; i < options_.steps; ++i) {
      FillBenchStep({sequences, context, rows}, vocab_, executor_.limits(), /*tables=*/i == 0,
                    executor_.NextStep());
      executor_.Submit();
      const runtime::StepResult& result = executor_.Wait();
      seconds.push_back(result.step_seconds);
      runtime_seconds += result.runtime_seconds;
      traffic = result.traffic;
      executor_.Release();
    }
    const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
    const double median = Median(&seconds);
    const uint64_t read =
        std::accumulate(traffic.read_bytes.begin(), traffic.read_bytes.end(), uint64_t{0}) -
        traffic.read_bytes[static_cast<int>(kernels::TrafficClass::kActivations)];
    const runtime::StepMessageStats sent = executor_.message_stats();
    const double limit = kernels::MeasureReadBandwidth(static_cast<int64_t>(read),
                                                       kernels::DetectIsa(), options_.ranks);
    const double tokens = static_cast<double>(sequences) * rows;
    const double rate = static_cast<double>(read) / median;
    out_ << absl::StrFormat(
        "%-8s %4d x %-4d %9.1f us  p99 %9.1f us  %8.0f tokens/s  reads %8.2f MB", name, sequences,
        rows, median * 1e6, seconds[seconds.size() * 99 / 100] * 1e6, tokens / median,
        static_cast<double>(read) / 1e6);
    out_ << absl::StrFormat("  %5.1f GB/s = %3.0f %% of %5.1f  runtime %4.2f %%\n", rate / 1e9,
                            100 * rate / limit, limit / 1e9, 100 * runtime_seconds / total);
    if (const uint64_t steps = sent.steps - before_.steps; steps > 0) {
      out_ << absl::StrFormat("    step messages: %.0f bytes, %.1f us to send per step\n",
                              static_cast<double>(sent.bytes - before_.bytes) / steps,
                              (sent.seconds - before_.seconds) / steps * 1e6);
    }
    before_ = sent;
    PrintOperators(before, total);
  }

 private:
  void PrintOperators(const std::vector<runtime::ActorProfile>& before, double total) {
    std::map<std::string, double> by_kind;
    const std::vector<runtime::ActorProfile> after = executor_.Profile();
    for (size_t i = 0; i < after.size(); ++i) {
      by_kind[v1::OperatorKind_Name(after[i].kind)] += after[i].seconds - before[i].seconds;
    }
    std::vector<std::pair<double, std::string>> order;
    for (const auto& [kind, seconds] : by_kind) order.emplace_back(seconds, kind);
    std::sort(order.rbegin(), order.rend());
    for (const auto& [seconds, kind] : order) {
      out_ << absl::StrFormat("    %-24s %9.1f us  %4.1f %%\n", kind,
                              seconds / options_.steps * 1e6, 100 * seconds / total);
    }
  }

  const ModelBenchOptions& options_;
  const int32_t vocab_;
  runtime::Executor& executor_;
  std::ostream& out_;
  runtime::StepMessageStats before_;
};

// Sequences and tokens of the longest of each kind of step.
std::vector<std::pair<int32_t, int32_t>> Kinds(const ModelBenchOptions& options) {
  std::vector<std::pair<int32_t, int32_t>> kinds;
  for (int32_t batch : options.batches) kinds.emplace_back(batch, options.context + 1);
  kinds.emplace_back(1, options.prefill);
  return kinds;
}

absl::Status Check(const ModelBenchOptions& options, const runtime::StepLimits& limits) {
  for (int32_t batch : options.batches) {
    if (batch > limits.max_sequences) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a batch of ", batch, " sequences is more than the plan's ", limits.max_sequences));
    }
  }
  for (const auto& [sequences, tokens] : Kinds(options)) {
    const int64_t blocks = (int64_t{tokens} + limits.kv_block_tokens - 1) / limits.kv_block_tokens;
    if (sequences * blocks > limits.kv_blocks) {
      return absl::InvalidArgumentError(
          absl::StrCat(sequences, " sequences of ", tokens, " tokens need ", sequences * blocks,
                       " KV blocks, the plan has ", limits.kv_blocks));
    }
  }
  if (options.prefill > limits.max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a prefill of ", options.prefill, " tokens is more than a step's ", limits.max_tokens));
  }
  if (options.context >= limits.max_positions || options.prefill > limits.max_positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("a context of ", options.context, " and a prefill of ", options.prefill,
                     " must fit ", limits.max_positions, " positions"));
  }
  return absl::OkStatus();
}

// Of steps, in seconds.
struct StepTimes {
  std::vector<double> whole;   // from the submission to the result
  std::vector<double> rank;    // of that, on rank 0
  std::vector<double> beside;  // of that, by its own clock outside of operators and exchanges
};

constexpr int32_t kStepsOfATurn = 8;

// Some steps, and one before them that wakes the threads and does not count.
absl::Status Turn(const BenchStep& shape, int32_t vocab, int32_t steps, bool tables,
                  runtime::Executor* executor, StepTimes* times) {
  for (int32_t i = 0; i <= steps; ++i) {
    FillBenchStep(shape, vocab, executor->limits(), tables && i == 0, executor->NextStep());
    const auto begin = std::chrono::steady_clock::now();
    executor->Submit();
    const runtime::StepResult& result = executor->Wait();
    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - begin;
    const absl::Status status = result.status;
    if (status.ok() && i > 0) {
      times->whole.push_back(whole.count());
      times->rank.push_back(result.step_seconds);
      times->beside.push_back(result.runtime_seconds);
    }
    executor->Release();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

void FillBenchStep(const BenchStep& shape, int32_t vocab, const runtime::StepLimits& limits,
                   bool tables, runtime::Step* step) {
  std::vector<int32_t> tokens(static_cast<size_t>(shape.rows));
  const int32_t positions = shape.context + shape.rows;
  const int32_t blocks = (positions + limits.kv_block_tokens - 1) / limits.kv_block_tokens;
  int64_t next = static_cast<int64_t>(step->number) * shape.sequences * shape.rows + 1;
  for (int32_t s = 0; s < shape.sequences; ++s) {
    for (int32_t b = 0; tables && b < blocks; ++b) step->AddBlockChange(s, b, s * blocks + b);
    for (int32_t& token : tokens) token = static_cast<int32_t>(next++ * 7919 % vocab);
    step->AddSpan(s, shape.context, tokens);
    step->AddLogitRow(step->tokens() - 1);
  }
}

absl::Status BenchRuntime(const ModelBenchOptions& options, int32_t vocab, runtime::Executor* real,
                          runtime::Executor* empty, std::ostream& out) {
  if (absl::Status s = Check(options, real->limits()); !s.ok()) return s;
  const auto run = [&](const char* name, const BenchStep& shape) -> absl::Status {
    StepTimes with;
    StepTimes without;
    for (int32_t done = 0; done < options.steps; done += kStepsOfATurn) {
      const int32_t steps = std::min(kStepsOfATurn, options.steps - done);
      if (absl::Status s = Turn(shape, vocab, steps, done == 0, real, &with); !s.ok()) return s;
      if (absl::Status s = Turn(shape, vocab, steps, done == 0, empty, &without); !s.ok()) return s;
    }
    const double step = Median(&with.whole);
    const auto print = [&](const char* what, double seconds) {
      out << absl::StrFormat("    %-40s %9.1f us  %6.3f %%\n", what, seconds * 1e6,
                             100 * seconds / step);
    };
    out << absl::StrFormat("%-8s %4d x %-4d %9.1f us\n", name, shape.sequences, shape.rows,
                           step * 1e6);
    print("without operators", Median(&without.whole));
    print("without operators, on rank 0", Median(&without.rank));
    print("beside operators and exchanges", Median(&with.beside));
    return absl::OkStatus();
  };
  for (int32_t batch : options.batches) {
    if (absl::Status s = run("decode", {batch, options.context, 1}); !s.ok()) return s;
  }
  if (options.prefill == 0) return absl::OkStatus();
  return run("prefill", {1, 0, options.prefill});
}

absl::Status BenchPages(const ModelBenchOptions& options, int32_t vocab, runtime::Executor* mapped,
                        runtime::Executor* copied, std::ostream& out) {
  if (absl::Status s = Check(options, mapped->limits()); !s.ok()) return s;
  const auto run = [&](const char* name, const BenchStep& shape) -> absl::Status {
    StepTimes times[2];
    std::vector<double> gains;
    for (int32_t done = 0; done < options.steps; done += kStepsOfATurn) {
      const int32_t steps = std::min(kStepsOfATurn, options.steps - done);
      StepTimes turn[2];
      // Who goes first alternates, for a machine's speed drifts.
      const int first = done / kStepsOfATurn % 2;
      for (const int which : {first, 1 - first}) {
        runtime::Executor* executor = which == 0 ? mapped : copied;
        absl::Status s = Turn(shape, vocab, steps, done == 0, executor, &turn[which]);
        if (!s.ok()) return s;
        auto& all = times[which].whole;
        all.insert(all.end(), turn[which].whole.begin(), turn[which].whole.end());
      }
      gains.push_back(1 - Median(&turn[1].whole) / Median(&turn[0].whole));
    }
    out << absl::StrFormat("%-8s %4d x %-4d mapped %9.1f us  copied %9.1f us  gain %5.1f %%\n",
                           name, shape.sequences, shape.rows, Median(&times[0].whole) * 1e6,
                           Median(&times[1].whole) * 1e6, 100 * Median(&gains));
    return absl::OkStatus();
  };
  for (int32_t batch : options.batches) {
    if (absl::Status s = run("decode", {batch, options.context, 1}); !s.ok()) return s;
  }
  if (options.prefill == 0) return absl::OkStatus();
  return run("prefill", {1, 0, options.prefill});
}

absl::Status BenchModel(const ModelBenchOptions& options, int32_t vocab,
                        runtime::Executor* executor, std::ostream& out) {
  if (absl::Status s = Check(options, executor->limits()); !s.ok()) return s;
  Bench bench(options, vocab, executor, out);
  for (int32_t batch : options.batches) bench.Run("decode", batch, options.context, 1);
  if (options.prefill > 0) bench.Run("prefill", 1, 0, options.prefill);
  return absl::OkStatus();
}

}  // namespace mneme::cli
