#include "engine/plan/register_bytes.h"

#include <algorithm>
#include <cmath>

#include "engine/graph/element_bytes.h"
#include "engine/plan/arena.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;

// Registers in the order in which exchanges and operators write and read them.
class Registers {
 public:
  Registers(const LayoutRules& rules, int64_t tokens, int64_t logit_rows)
      : graph_(rules.graph()),
        partition_(rules.pricing().partition()),
        tokens_(tokens),
        logit_rows_(logit_rows),
        of_tensor_(graph_.tensors.size()) {}

  // Of exchanges in a row, which may be one (a merge of candidates), all reads last as the last's.
  void Exchange(int32_t tensor, bool in_a_row) {
    for (size_t copy : exchanged_) Read(copy);
    if (!in_a_row) exchanged_.clear();
    for (size_t copy : of_tensor_[Root(tensor)]) exchanged_.push_back(copy);
    ReadAll(tensor);
    Write(tensor, 1);
    ++now_;
  }

  void Run(const Operator& op, const GridSignature& s) {
    for (int32_t input : op.inputs) ReadAll(input);
    for (size_t i = 0; i < op.outputs.size(); ++i) {
      const int32_t tensor = op.outputs[i];
      if (tensor < 0 || graph_.tensors[tensor].in_place_of >= 0) {
        ReadAll(tensor);
      } else {
        Write(tensor, partition_.Share(graph_, tensor, s[kOuter].outputs[i] == Sbp::S(1),
                                       s[kInner].outputs[i] == Sbp::S(1)));
      }
    }
    ++now_;
  }

  int64_t Bytes() {
    for (size_t copy : exchanged_) Read(copy);
    const std::vector<size_t>& logits = of_tensor_[Root(graph_.logits)];
    for (size_t copy : logits) {
      lifetimes_[copy].first = 0;
      lifetimes_[copy].last = now_;
    }
    if (!logits.empty()) lifetimes_.push_back(lifetimes_[logits.back()]);
    return PlaceInArena(lifetimes_).bytes;
  }

 private:
  int32_t Root(int32_t tensor) const {
    while (graph_.tensors[tensor].in_place_of >= 0) tensor = graph_.tensors[tensor].in_place_of;
    return tensor;
  }
  void Read(size_t copy) { lifetimes_[copy].last = std::max(lifetimes_[copy].last, now_); }
  void ReadAll(int32_t tensor) {
    if (tensor < 0) return;
    for (size_t copy : of_tensor_[Root(tensor)]) Read(copy);
  }
  void Write(int32_t tensor, double share) {
    const graph::Tensor& t = graph_.tensors[Root(tensor)];
    const int64_t rows = t.rows == v1::Register::LOGIT_ROWS ? logit_rows_ : tokens_;
    const int64_t cols = std::llround(share * static_cast<double>(t.cols));
    of_tensor_[Root(tensor)].push_back(lifetimes_.size());
    lifetimes_.push_back({now_, now_, rows * cols * ElementBytes(t.type)});
  }

  const Graph& graph_;
  const GridPartition& partition_;
  const int64_t tokens_;
  const int64_t logit_rows_;
  int32_t now_ = 0;
  std::vector<Lifetime> lifetimes_;             // by copy
  std::vector<std::vector<size_t>> of_tensor_;  // copies
  std::vector<size_t> exchanged_;               // copies that the last exchange read
};

}  // namespace

int64_t RegisterBytesBound(const LayoutRules& rules, const std::vector<size_t>& options,
                           int64_t tokens, int64_t logit_rows) {
  Registers registers(rules, tokens, logit_rows);
  State state, next;
  std::vector<Exchanged> exchanges;
  const auto exchange = [&] {
    for (const Exchanged& e : exchanges) registers.Exchange(e.tensor, &e != &exchanges.front());
    exchanges.clear();
  };
  for (size_t i = 0; i < options.size(); ++i) {
    rules.Apply(i, options[i], &state, &next, &exchanges);
    exchange();
    registers.Run(rules.graph().operators[i], rules.options()[i][options[i]]);
    state = next;
  }
  rules.Finish(state, &exchanges);
  exchange();
  return registers.Bytes();
}

}  // namespace mneme::plan
