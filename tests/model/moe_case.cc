#include "tests/model/moe_case.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <numeric>

#include "kernels/tensor/tensor.h"

namespace mneme::testing {
namespace {

using loader::ModelDescription;
using loader::Role;
using Vector = std::vector<double>;

ModelDescription Olmoe(int64_t experts, int64_t top_k, int64_t hidden) {
  ModelDescription model;
  model.family = "olmoe";
  model.architecture = "olmoe";
  model.dim = 64;
  model.layers = 3;
  model.vocab_size = 250;
  model.embedding_size = 256;
  model.max_sequence_length = 128;
  model.attention.heads = 4;
  model.attention.kv_heads = 4;
  model.attention.head_dim = 16;
  model.attention.qk_norm = loader::NormDescription{};
  model.attention.qk_norm_whole = true;
  // Clips a part of the normed queries and keys, and of the values.
  model.attention.clip_qkv = 0.3f;
  model.attention.clip_after_norm = true;
  model.moe = {.experts = experts, .top_k = top_k, .hidden = hidden};
  model.tied_head = false;
  return model;
}

// Fewer key-value heads than ranks may be: some have the same, which must count once.
ModelDescription Grouped() {
  ModelDescription model = Olmoe(8, 2, 96);
  model.attention.kv_heads = 2;
  return model;
}

ModelDescription Mixtral() {
  ModelDescription model = Olmoe(6, 3, 128);
  model.attention.kv_heads = 2;
  model.attention.qk_norm.reset();
  model.attention.clip_qkv.reset();
  model.attention.windows = {9, 0, 17};
  model.moe->renormalise = true;
  return model;
}

ModelDescription Qwen2() {
  ModelDescription model = Mixtral();
  model.attention.windows.clear();
  model.attention.qkv_bias = true;
  model.moe->renormalise = false;
  model.moe->shared_hidden = 80;
  model.moe->dense_blocks = {1};
  model.ffn.hidden = 112;
  return model;
}

class Plain {
 public:
  Plain(const ModelDescription& model, const loader::PackedWeights& weights)
      : model_(model), weights_(weights) {}

  PlainOutputs Run(const std::vector<int32_t>& tokens) {
    std::vector<Vector> x;
    for (int32_t id : tokens) x.push_back(Row(weights_.at({Role::kEmbedding}).view, id));
    out_.least_gap = std::numeric_limits<double>::infinity();
    out_.experts.resize(static_cast<size_t>(model_.layers));
    for (int32_t block = 0; block < model_.layers; ++block) {
      Attention(block, &x);
      for (Vector& row : x) {
        const Vector u = RmsNorm(row, {Role::kFfnNormWeight, block}, model_.block_norm.eps);
        AddTo(Ffn(block, u), 1, &row);
      }
    }
    for (const Vector& row : x) {
      out_.logits.push_back(Times(weights_.at({Role::kHead}).view,
                                  RmsNorm(row, {Role::kFinalNormWeight}, model_.final_norm.eps)));
    }
    return out_;
  }

 private:
  static double At(const kernels::TensorView& m, int64_t row, int64_t col) {
    return m.dtype == kernels::DType::kF32 ? m.As<float>().row(row)[col]
                                           : ToFloat(m.As<kernels::Bf16>().row(row)[col]);
  }
  static Vector Row(const kernels::TensorView& m, int64_t row) {
    Vector values;
    for (int64_t c = 0; c < m.cols; ++c) values.push_back(At(m, row, c));
    return values;
  }
  static Vector Times(const kernels::TensorView& m, const Vector& x) {
    Vector y;
    for (int64_t r = 0; r < m.rows; ++r) {
      const Vector row = Row(m, r);
      y.push_back(std::inner_product(row.begin(), row.end(), x.begin(), 0.0));
    }
    return y;
  }
  static void AddTo(const Vector& a, double factor, Vector* to) {
    for (size_t i = 0; i < a.size(); ++i) (*to)[i] += factor * a[i];
  }

  // Over the whole of x. Vectors are stored as one row or one column.
  Vector RmsNorm(const Vector& x, loader::WeightId id, double eps) const {
    const float* weight = weights_.at(id).view.As<float>().data;
    const double square = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
    const double scale = 1 / std::sqrt(square / static_cast<double>(x.size()) + eps);
    Vector y;
    for (size_t i = 0; i < x.size(); ++i) y.push_back(x[i] * scale * weight[i]);
    return y;
  }

  Vector Project(int32_t block, Role role, const Vector& x) const {
    return Times(weights_.at({role, block}).view, x);
  }
  Vector Project(int32_t block, Role role, Role bias, const Vector& x) const {
    Vector y = Project(block, role, x);
    if (!model_.attention.qkv_bias) return y;
    const float* add = weights_.at({bias, block}).view.As<float>().data;
    for (size_t i = 0; i < y.size(); ++i) y[i] += add[i];
    return y;
  }
  void Clip(Vector* x) const {
    if (!model_.attention.clip_qkv) return;
    const double clip = *model_.attention.clip_qkv;
    for (double& value : *x) value = std::clamp(value, -clip, clip);
  }
  // Norm, clamp and rotation of q or k at a position.
  Vector Placed(Vector x, loader::WeightId norm, int64_t position) const {
    if (model_.attention.qk_norm) x = RmsNorm(x, norm, model_.attention.qk_norm->eps);
    Clip(&x);
    const int64_t half = model_.attention.head_dim / 2;
    for (size_t head = 0; head < x.size(); head += 2 * half) {
      for (int64_t i = 0; i < half; ++i) {
        const double frequency =
            std::pow(double{model_.attention.rope.theta}, -static_cast<double>(i) / half);
        const double angle = static_cast<double>(position) * frequency;
        const double a = x[head + i];
        const double b = x[head + i + half];
        x[head + i] = a * std::cos(angle) - b * std::sin(angle);
        x[head + i + half] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
    return x;
  }

  void Attention(int32_t block, std::vector<Vector>* x) const {
    const loader::AttentionDescription& a = model_.attention;
    std::vector<Vector> keys;
    std::vector<Vector> values;
    for (size_t t = 0; t < x->size(); ++t) {
      const Vector h = RmsNorm((*x)[t], {Role::kAttentionNormWeight, block}, model_.block_norm.eps);
      const auto position = static_cast<int64_t>(t);
      const Vector q = Placed(Project(block, Role::kQuery, Role::kQueryBias, h),
                              {Role::kQueryNormWeight, block}, position);
      keys.push_back(Placed(Project(block, Role::kKey, Role::kKeyBias, h),
                            {Role::kKeyNormWeight, block}, position));
      values.push_back(Project(block, Role::kValue, Role::kValueBias, h));
      Clip(&values.back());
      if (!a.windows.empty() && a.windows[block] > 0 && std::ssize(keys) > a.windows[block]) {
        keys.erase(keys.begin());
        values.erase(values.begin());
      }
      Vector y(static_cast<size_t>(a.heads * a.head_dim));
      for (int64_t head = 0; head < a.heads; ++head) Attend(q, keys, values, head, &y);
      AddTo(Project(block, Role::kAttentionOut, y), 1, &(*x)[t]);
    }
  }

  // One query head over the keys that it sees.
  void Attend(const Vector& q, const std::vector<Vector>& keys, const std::vector<Vector>& values,
              int64_t head, Vector* y) const {
    const loader::AttentionDescription& a = model_.attention;
    const int64_t from = head * a.head_dim;
    const int64_t kv_from = head * a.kv_heads / a.heads * a.head_dim;
    Vector share;
    for (const Vector& key : keys) {
      double score = 0;
      for (int64_t i = 0; i < a.head_dim; ++i) score += q[from + i] * key[kv_from + i];
      share.push_back(std::exp(score / std::sqrt(static_cast<double>(a.head_dim))));
    }
    const double sum = std::accumulate(share.begin(), share.end(), 0.0);
    for (size_t t = 0; t < values.size(); ++t) {
      for (int64_t i = 0; i < a.head_dim; ++i) {
        (*y)[from + i] += share[t] / sum * values[t][kv_from + i];
      }
    }
  }

  // Expert e of the stacked matrices of a role.
  kernels::TensorView Matrix(int32_t block, Role role, int64_t e) const {
    const loader::PackedWeight& w = weights_.at({role, block});
    kernels::TensorView view = w.view;
    view.data = w.stack.at(static_cast<size_t>(e));
    return view;
  }

  // down(silu(gate(u)) · up(u)).
  static Vector Gated(const kernels::TensorView& gate, const kernels::TensorView& up,
                      const kernels::TensorView& down, const Vector& u) {
    const Vector g = Times(gate, u);
    Vector hidden = Times(up, u);
    for (size_t i = 0; i < hidden.size(); ++i) hidden[i] *= g[i] / (1 + std::exp(-g[i]));
    return Times(down, hidden);
  }

  Vector Ffn(int32_t block, const Vector& u) {
    const loader::MoeDescription& moe = *model_.moe;
    const auto dense = [&] {
      return Gated(weights_.at({Role::kFfnGate, block}).view,
                   weights_.at({Role::kFfnUp, block}).view,
                   weights_.at({Role::kFfnDown, block}).view, u);
    };
    if (std::count(moe.dense_blocks.begin(), moe.dense_blocks.end(), block) > 0) return dense();
    Vector y = Experts(block, u);
    if (moe.shared_hidden > 0) {
      const double gate = Project(block, Role::kSharedGate, u)[0];
      AddTo(dense(), 1 / (1 + std::exp(-gate)), &y);
    }
    return y;
  }

  Vector Experts(int32_t block, const Vector& u) {
    const loader::MoeDescription& moe = *model_.moe;
    const Vector logits = Project(block, Role::kRouter, u);
    std::vector<int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    if (moe.top_k < moe.experts) {
      out_.least_gap =
          std::min(out_.least_gap, logits[order[moe.top_k - 1]] - logits[order[moe.top_k]]);
    }
    std::vector<int32_t> chosen(order.begin(), order.begin() + moe.top_k);
    std::sort(chosen.begin(), chosen.end());
    double sum = 0;
    for (int32_t e : moe.renormalise ? chosen : order) sum += std::exp(logits[e]);
    Vector y(u.size());
    for (int32_t e : chosen) {
      AddTo(Gated(Matrix(block, Role::kExpertGate, e), Matrix(block, Role::kExpertUp, e),
                  Matrix(block, Role::kExpertDown, e), u),
            std::exp(logits[e]) / sum, &y);
    }
    out_.experts[block].push_back(chosen);
    return y;
  }

  const ModelDescription& model_;
  const loader::PackedWeights& weights_;
  PlainOutputs out_;
};

}  // namespace

const std::vector<MoeCase>& MoeCases() {
  static const auto* const kCases = new std::vector<MoeCase>{
      {"wide", Olmoe(8, 2, 96)}, {"narrow", Olmoe(9, 4, 16)}, {"few", Olmoe(2, 1, 16)},
      {"grouped", Grouped()},    {"mixtral", Mixtral()},      {"qwen2", Qwen2()}};
  return *kCases;
}

const MoeCase& MoeCaseOf(const std::string& name) {
  for (const MoeCase& c : MoeCases()) {
    if (c.name == name) return c;
  }
  std::abort();
}

PlainOutputs RunPlainly(const ModelDescription& model, const loader::PackedWeights& weights,
                        const std::vector<int32_t>& tokens) {
  return Plain(model, weights).Run(tokens);
}

}  // namespace mneme::testing
