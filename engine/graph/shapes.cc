#include "engine/graph/shapes.h"

#include "absl/strings/str_cat.h"
#include "kernels/router/router.h"

namespace mneme::graph {
namespace {

// Collects the first thing that does not fit.
class Shapes {
 public:
  Shapes(const Graph& graph, const Operator& op) : graph_(graph), op_(op) {}

  std::string Check() {
    switch (op_.kind) {
      case v1::EMBEDDING:
        Columns("y", op_.outputs[0], graph_.weights[op_.weights[0]].cols);
        break;
      case v1::LINEAR:
        Linear();
        break;
      case v1::RMS_NORM:
        Norm();
        GivenSums();
        break;
      case v1::LAYER_NORM:
        Norm();
        break;
      case v1::SQUARE_SUM:
        Columns("y", op_.outputs[0], op_.inputs[1] < 0 ? 1 : 2);
        break;
      case v1::ROPE:
        Rope();
        break;
      case v1::CLAMP:
        Same("y", op_.outputs[0]);
        break;
      case v1::SELECT_ROWS:
        Columns("y", op_.outputs[0], graph_.tensors[op_.inputs[0]].cols);
        break;
      case v1::ACTIVATION:
      case v1::ADDITION:
        if (op_.inputs[1] >= 0) Same("second input", op_.inputs[1]);
        Same("y", op_.outputs[0]);
        break;
      case v1::KV_APPEND:
        KvAppend();
        break;
      case v1::ATTENTION:
        Attention();
        break;
      case v1::PRODUCT_KEY_CANDIDATES:
        Candidates();
        break;
      case v1::PRODUCT_KEY_SELECT:
        Select();
        break;
      case v1::ROW_GATE:
        Columns("gate", op_.inputs[1], 1);
        Same("y", op_.outputs[0]);
        break;
      case v1::ROUTER:
        Router();
        break;
      case v1::EXPERTS:
        Experts();
        break;
      case v1::VALUE_PREFETCH:
        Columns("slot", op_.inputs[0], op_.attributes.gather().selections());
        Table();
        break;
      case v1::PRE_SCORE:
        PreScore();
        break;
      case v1::VALUE_GATHER:
        Gather();
        break;
      default:
        break;
    }
    return error_;
  }

 private:
  void Expect(const char* what, int64_t actual, int64_t expected) {
    if (error_.empty() && actual != expected) {
      error_ = absl::StrCat(what, " is ", actual, ", must be ", expected);
    }
  }
  void Columns(const char* what, int32_t tensor, int64_t cols) {
    if (tensor < 0) return;
    Expect(absl::StrCat(what, "'s columns").c_str(), graph_.tensors[tensor].cols, cols);
  }
  void Integers(const char* what, int32_t tensor) {
    if (tensor < 0) return;
    Expect(absl::StrCat(what, "'s type").c_str(), graph_.tensors[tensor].type, v1::I32);
  }
  // As many columns as the first input, of the same kind of rows.
  void Same(const char* what, int32_t tensor) {
    const Tensor& first = graph_.tensors[op_.inputs[0]];
    Columns(what, tensor, first.cols);
    Expect(absl::StrCat(what, "'s kind of rows").c_str(), graph_.tensors[tensor].rows, first.rows);
  }
  void WeightShape(int operand, int64_t rows, int64_t cols) {
    const int32_t weight = op_.weights[operand];
    if (weight < 0) return;
    const Weight& w = graph_.weights[weight];
    Expect(absl::StrCat(loader::WeightName(w.id), "'s rows").c_str(), w.rows, rows);
    Expect(absl::StrCat(loader::WeightName(w.id), "'s columns").c_str(), w.cols, cols);
  }
  void Chunks(const char* what, int64_t cols, int64_t width) {
    if (width < 1) {
      Expect("width", width, 1);
    } else {
      Expect(what, cols % width, 0);
    }
  }

  void Linear() {
    const Weight& w = graph_.weights[op_.weights[0]];
    Columns("x", op_.inputs[0], w.cols);
    Columns("y", op_.outputs[0], w.rows);
    WeightShape(1, 1, w.rows);
  }
  void Norm() {
    const int64_t width = op_.attributes.norm().width();
    Same("y", op_.outputs[0]);
    Chunks("x's columns modulo the width", graph_.tensors[op_.inputs[0]].cols, width);
    WeightShape(0, 1, width);
    WeightShape(1, 1, width);
  }
  void GivenSums() {
    const int32_t sums = op_.inputs[1];
    if (sums < 0) return;
    const v1::Attributes::Norm& norm = op_.attributes.norm();
    Expect("width with given sums", norm.width(), graph_.tensors[op_.inputs[0]].cols);
    const bool there = norm.sum() >= 0 && norm.sum() < graph_.tensors[sums].cols;
    Expect("the sum's being a column of the sums", there, true);
  }
  void Rope() {
    const int64_t head_dim = op_.attributes.rope().head_dim();
    Same("y", op_.outputs[0]);
    Chunks("x's columns modulo the head's", graph_.tensors[op_.inputs[0]].cols, head_dim);
    for (int operand : {0, 1}) {
      WeightShape(operand, graph_.weights[op_.weights[0]].rows, head_dim / 2);
    }
  }
  const KvLayer* Layer(int32_t layer) {
    for (const KvLayer& kv : graph_.kv_layers) {
      if (kv.layer == layer) return &kv;
    }
    if (error_.empty()) error_ = absl::StrCat("layer ", layer, " has no KV cache");
    return nullptr;
  }
  void KvAppend() {
    const KvLayer* kv = Layer(op_.attributes.kv_append().layer());
    if (kv == nullptr) return;
    for (int32_t input : op_.inputs) Columns("k or v", input, int64_t{kv->kv_heads} * kv->head_dim);
  }
  void Attention() {
    const v1::Attributes::Attention& a = op_.attributes.attention();
    const KvLayer* kv = Layer(a.layer());
    if (kv == nullptr) return;
    Expect("kv heads", a.kv_heads(), kv->kv_heads);
    Expect("head dimension", a.head_dim(), kv->head_dim);
    Chunks("heads modulo kv heads", a.heads(), a.kv_heads());
    Columns("q", op_.inputs[0], int64_t{a.heads()} * a.head_dim());
    Same("y", op_.outputs[0]);
  }
  void Candidates() {
    const v1::Attributes::Candidates& a = op_.attributes.candidates();
    const int64_t keys = int64_t{a.heads()} * 2 * a.key_count();
    const int64_t kept = int64_t{a.heads()} * 2 * a.top_k();
    WeightShape(0, keys, int64_t{a.key_dim()} * a.rank());
    for (int operand : {1, 2}) WeightShape(operand, keys, a.rank());
    for (int operand : {3, 4}) WeightShape(operand, 1, a.key_dim());
    for (int operand : {5, 6}) WeightShape(operand, a.heads(), a.rank());
    Integers("index", op_.outputs[0]);
    Columns("index", op_.outputs[0], kept);
    Columns("score", op_.outputs[1], kept * a.rank());
  }
  void Select() {
    const v1::Attributes::Select& a = op_.attributes.select();
    const int64_t kept = int64_t{a.heads()} * 2 * a.top_k();
    const int64_t selections = int64_t{a.heads()} * a.top_k();
    Columns("index", op_.inputs[0], kept);
    Columns("score", op_.inputs[1], kept * a.rank());
    WeightShape(0, int64_t{a.cores()} * a.heads(), int64_t{a.rank()} * a.rank());
    WeightShape(1, 1, int64_t{a.key_count()} * a.key_count());
    for (int output : {0, 2, 3}) {
      Integers("grid, slot or group", op_.outputs[output]);
      Columns("grid, slot or group", op_.outputs[output], selections);
    }
    Columns("score", op_.outputs[1], selections * a.cores());
    Columns("weight", op_.outputs[4], selections * a.cores());
  }
  void Router() {
    const int64_t top_k = op_.attributes.router().top_k();
    const int64_t experts = graph_.tensors[op_.inputs[0]].cols;
    Expect("top_k's being one of the experts", top_k >= 1 && top_k <= experts, true);
    Expect("the experts' being few enough", experts <= kernels::kRouterMostExperts, true);
    Integers("expert", op_.outputs[0]);
    Columns("expert", op_.outputs[0], top_k);
    Columns("weight", op_.outputs[1], top_k);
  }
  void Experts() {
    const int64_t experts = op_.attributes.experts().experts();
    const int64_t dim = graph_.tensors[op_.inputs[0]].cols;
    const int64_t hidden = graph_.weights[op_.weights[2]].cols;
    Integers("expert", op_.inputs[1]);
    Columns("weight", op_.inputs[2], graph_.tensors[op_.inputs[1]].cols);
    for (int32_t weight : op_.weights) {
      Expect("the number of stacked matrices", graph_.weights[weight].stack, experts);
    }
    WeightShape(0, experts * hidden, dim);
    WeightShape(1, experts * hidden, dim);
    WeightShape(2, experts * dim, hidden);
    Same("y", op_.outputs[0]);
  }
  void Table() {
    const v1::Attributes::Gather& a = op_.attributes.gather();
    const int32_t table = op_.weights[0];
    Expect("the weight's being a value table", graph_.weights[table].value_table, true);
    WeightShape(0, graph_.weights[table].rows, int64_t{a.pre_width()} + a.width());
  }
  void PreScore() {
    const v1::Attributes::Gather& a = op_.attributes.gather();
    Table();
    Integers("slot", op_.inputs[0]);
    Columns("slot", op_.inputs[0], a.selections());
    Columns("pre-query", op_.inputs[1], a.pre_width());
    Columns("y", op_.outputs[0], a.selections());
  }
  void Gather() {
    const v1::Attributes::Gather& a = op_.attributes.gather();
    Table();
    for (int input : {0, 1}) {
      Integers("slot or group", op_.inputs[input]);
      Columns("slot or group", op_.inputs[input], a.selections());
    }
    Columns("weight", op_.inputs[2], int64_t{a.selections()} * a.cores());
    Expect("a pre-query or pre-score", (op_.inputs[3] >= 0) + (op_.inputs[4] >= 0),
           a.pre_width() > 0);
    Columns("pre-query", op_.inputs[3], a.pre_width());
    Columns("pre-score", op_.inputs[4], a.selections());
    Chunks("width modulo cores", a.width(), a.cores());
    Columns("y", op_.outputs[0], int64_t{a.width()} * a.expand_groups());
  }

  const Graph& graph_;
  const Operator& op_;
  std::string error_;
};

}  // namespace

std::string CheckShapes(const Graph& graph, const Operator& op) {
  return Shapes(graph, op).Check();
}

}  // namespace mneme::graph
