// The ranks' results of a step as one, and tensors that several ranks have parts of as wholes.
#ifndef MNEME_ENGINE_RUNTIME_COMBINE_RESULTS_H_
#define MNEME_ENGINE_RUNTIME_COMBINE_RESULTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/runtime/executor.h"
#include "proto/mneme/v1/plan.pb.h"

namespace mneme::runtime {

// Sums of what ranks report of one step; memory for as many tokens as the plan allows.
class CombinedResult {
 public:
  explicit CombinedResult(int32_t max_tokens)
      : value_row_bytes_(max_tokens), expert_bytes_(max_tokens), kv_bytes_(max_tokens) {}

  // Rank 0's result: its logits and times are the whole's.
  void Start(const StepResult& front);
  void Add(const kernels::Traffic& traffic, const kernels::Traffic& logit_traffic,
           std::span<const double> token_value_row_bytes,
           std::span<const double> token_expert_bytes, std::span<const double> token_kv_bytes);
  void Fail(const absl::Status& status);
  const StepResult& result() const { return result_; }

 private:
  StepResult result_;
  std::vector<double> value_row_bytes_;
  std::vector<double> expert_bytes_;
  std::vector<double> kv_bytes_;
};

// Executor::Trace of a plan of many ranks. Tensors are put together once a step.
class TraceAssembler {
 public:
  // A rank's part of a kept register in the last step, of the type the register has. An empty view
  // when the rank cannot give it.
  using PartOf = std::function<kernels::TensorView(int32_t rank, int32_t reg)>;

  // plan: with the registers that the step had.
  kernels::TensorView Assemble(const v1::Plan& plan, std::string_view name, uint64_t step,
                               const PartOf& part_of);

 private:
  struct Traced {
    uint64_t step = 0;
    int64_t rows = 0;
    int64_t cols = 0;
    std::vector<float> floats;  // by the tensor's type, one of them
    std::vector<int32_t> integers;

    template <class T>
    std::vector<T>& Elements();
    template <class T>
    kernels::TensorView View();
  };
  template <class T>
  kernels::TensorView AssembleParts(const v1::Plan& plan, int32_t reg, uint64_t step,
                                    const PartOf& part_of);

  std::map<std::string, Traced, std::less<>> traced_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_COMBINE_RESULTS_H_
