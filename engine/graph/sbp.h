// SBP: how a logical tensor lies across ranks. S(axis) split, B broadcast, P partial sum. Operators
// declare signatures in these terms and know nothing else about parallelism.
#ifndef MNEME_ENGINE_GRAPH_SBP_H_
#define MNEME_ENGINE_GRAPH_SBP_H_

#include <cstdint>
#include <string>
#include <vector>

namespace mneme::graph {

struct Sbp {
  enum class Kind : uint8_t { kBroadcast, kSplit, kPartial };
  Kind kind = Kind::kBroadcast;
  // Of a split: the tensor's axis (0 rows, 1 columns; of a weight [out, in]: 0 out, 1 in).
  int8_t axis = 0;

  static constexpr Sbp B() { return {Kind::kBroadcast, 0}; }
  static constexpr Sbp S(int axis) { return {Kind::kSplit, static_cast<int8_t>(axis)}; }
  static constexpr Sbp P() { return {Kind::kPartial, 0}; }
  bool operator==(const Sbp&) const = default;
};

// "B", "S(0)", "P".
std::string SbpName(Sbp sbp);

// One valid way to run an operator on many ranks: the layout of every input and weight, and the
// layout of every output that follows. Absent optional operands have an entry too (B).
struct Signature {
  std::vector<Sbp> inputs;
  std::vector<Sbp> weights;
  std::vector<Sbp> outputs;
  bool operator==(const Signature&) const = default;
};

// "(B, S(0)) -> S(1)": inputs, then weights, then outputs; "()" for none.
std::string SignatureName(const Signature& signature);

}  // namespace mneme::graph

#endif  // MNEME_ENGINE_GRAPH_SBP_H_
