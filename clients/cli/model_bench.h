// Times the steps of a model, without schedule or gRPC.
#ifndef MNEME_CLIENTS_CLI_MODEL_BENCH_H_
#define MNEME_CLIENTS_CLI_MODEL_BENCH_H_

#include <cstdint>
#include <ostream>
#include <vector>

#include "absl/status/status.h"
#include "engine/runtime/executor.h"

namespace mneme::cli {

struct ModelBenchOptions {
  int32_t ranks = 1;  // of the executor: how many cores the limit is measured with
  std::vector<int32_t> batches = {1, 8, 32};  // sequences of a decode step
  int32_t context = 128;                      // tokens that each sequence has before a decode step
  int32_t prefill = 64;                       // tokens of a prefill of one sequence; 0: none
  int32_t steps = 200;                        // of each kind
};

// A step of `rows` tokens of each of `sequences` sequences, at positions `context` and following,
// with the logits of the last row of each.
struct BenchStep {
  int32_t sequences = 1;
  int32_t context = 0;
  int32_t rows = 1;
};

// Fills `step` with it. tables: also where the sequences' blocks are, which the first of equal
// steps tells. vocab: token ids are below it, others in every step.
void FillBenchStep(const BenchStep& shape, int32_t vocab, const runtime::StepLimits& limits,
                   bool tables, runtime::Step* step);

// Prints for each kind of step its median time, the bytes it read against the speed at which as
// many threads as there are ranks read as many, the runtime's own share, and the time by operator
// on rank 0. INVALID_ARGUMENT names what the plan's limits do not allow. vocab: token ids are below
// it.
absl::Status BenchModel(const ModelBenchOptions& options, int32_t vocab,
                        runtime::Executor* executor, std::ostream& out);

// What the runtime takes for itself: by turns some steps on `real` and as many on `empty`, an
// executor of the same plan whose operators do nothing (ModelOptions::empty_operators). Prints for
// each kind of step medians and their shares of the whole step: what a step without operators takes
// from its submission to its result and on rank 0 alone, and what rank 0 spends beside operators
// and exchanges by its own clock (StepResult::runtime_seconds) in real steps. Errors: those of
// BenchModel.
absl::Status BenchRuntime(const ModelBenchOptions& options, int32_t vocab, runtime::Executor* real,
                          runtime::Executor* empty, std::ostream& out);

// What it gains to have weights in huge pages: by turns some steps on `mapped` and as many on
// `copied`, executors of one plan and one model of which one reads its weights where its files are
// mapped, the other in copies (ModelOptions::huge_pages). Prints for each kind of step the medians,
// and the median over turns of how much shorter the copies' are. Errors: those of BenchModel.
absl::Status BenchPages(const ModelBenchOptions& options, int32_t vocab, runtime::Executor* mapped,
                        runtime::Executor* copied, std::ostream& out);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_MODEL_BENCH_H_
