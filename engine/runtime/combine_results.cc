#include "engine/runtime/combine_results.h"

#include <algorithm>
#include <utility>

#include "engine/runtime/row_split.h"

namespace mneme::runtime {

void CombinedResult::Start(const StepResult& front) {
  const size_t tokens = front.token_kv_bytes.size();
  result_ = front;
  std::copy_n(front.token_value_row_bytes.data(), tokens, value_row_bytes_.begin());
  std::copy_n(front.token_expert_bytes.data(), tokens, expert_bytes_.begin());
  std::copy_n(front.token_kv_bytes.data(), tokens, kv_bytes_.begin());
  result_.token_value_row_bytes = {value_row_bytes_.data(), tokens};
  result_.token_expert_bytes = {expert_bytes_.data(), tokens};
  result_.token_kv_bytes = {kv_bytes_.data(), tokens};
}

void CombinedResult::Add(const kernels::Traffic& traffic, const kernels::Traffic& logit_traffic,
                         std::span<const double> token_value_row_bytes,
                         std::span<const double> token_expert_bytes,
                         std::span<const double> token_kv_bytes) {
  result_.traffic += traffic;
  result_.logit_traffic += logit_traffic;
  const size_t tokens = std::min(result_.token_kv_bytes.size(), token_kv_bytes.size());
  for (size_t t = 0; t < tokens; ++t) {
    value_row_bytes_[t] += token_value_row_bytes[t];
    expert_bytes_[t] += token_expert_bytes[t];
    kv_bytes_[t] += token_kv_bytes[t];
  }
}

void CombinedResult::Fail(const absl::Status& status) {
  result_ = {};
  result_.status = status;
}

kernels::TensorView TraceAssembler::Assemble(const v1::Plan& plan, std::string_view name,
                                             uint64_t step, const PartOf& part_of) {
  int32_t found = -1;
  for (int32_t i = 0; i < plan.registers_size(); ++i) {
    const v1::Register& r = plan.registers(i);
    if (!r.kept() || r.name() != name) continue;
    // A tensor may lie in several layouts: whole is best.
    if (r.layout().kind() == v1::Layout::BROADCAST) return part_of(0, i);
    found = i;
  }
  if (found < 0) return {};
  return plan.registers(found).type() == v1::I32
             ? AssembleParts<int32_t>(plan, found, step, part_of)
             : AssembleParts<float>(plan, found, step, part_of);
}

template <>
std::vector<float>& TraceAssembler::Traced::Elements<float>() {
  return floats;
}
template <>
std::vector<int32_t>& TraceAssembler::Traced::Elements<int32_t>() {
  return integers;
}

template <class T>
kernels::TensorView TraceAssembler::Traced::View() {
  return kernels::MakeTensorView(kernels::MakeMatrix<const T>(Elements<T>().data(), rows, cols));
}

// Parts stand one below the other, or side by side, or are added up.
template <class T>
kernels::TensorView TraceAssembler::AssembleParts(const v1::Plan& plan, int32_t reg, uint64_t step,
                                                  const PartOf& part_of) {
  const v1::Layout& layout = plan.registers(reg).layout();
  const bool by_rows = SplitsRows(layout);
  const bool by_cols = !by_rows && layout.kind() == v1::Layout::SPLIT;
  Traced& traced = traced_[plan.registers(reg).name()];
  if (std::exchange(traced.step, step) == step) return traced.View<T>();
  traced.rows = 0;
  traced.cols = by_cols ? layout.parts(layout.parts_size() - 1).end() : plan.registers(reg).cols();
  std::vector<T>& all = traced.Elements<T>();
  all.clear();
  for (int32_t r = 0; r < plan.cluster().ranks(); ++r) {
    const kernels::TensorView given = part_of(r, reg);
    if (given.data == nullptr) return {};
    const auto part = given.As<T>();
    const int64_t first_row = by_rows ? traced.rows : 0;
    const int64_t first_col = by_cols ? layout.parts(r).begin() : 0;
    traced.rows = first_row + part.rows;
    all.resize(static_cast<size_t>(traced.rows * traced.cols));
    for (int64_t row = 0; row < part.rows; ++row) {
      T* to = all.data() + (first_row + row) * traced.cols + first_col;
      for (int64_t i = 0; i < part.cols; ++i) to[i] += part.row(row)[i];
    }
  }
  return traced.View<T>();
}

}  // namespace mneme::runtime
