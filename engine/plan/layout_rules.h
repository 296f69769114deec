// What a choice of signatures means, operator by operator: in which layouts the tensors that are
// alive exist, which exchanges that takes, what it costs. The definition that the search of
// layout_search.h minimises and that brute force is tested with.
#ifndef MNEME_ENGINE_PLAN_LAYOUT_RULES_H_
#define MNEME_ENGINE_PLAN_LAYOUT_RULES_H_

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/plan/grid.h"
#include "engine/plan/operator_cost.h"

namespace mneme::plan {

inline constexpr double kNever = std::numeric_limits<double>::infinity();

// Of each slot that lives, oldest first. Of a tensor: the layouts in which it exists, a bit for
// each pair of letters. Then what several operators must see alike: of a KV cache the layout of its
// keys; of selections, for a prefetch, a pre-score and the gather behind them, which of them a rank
// takes and how the table lies.
using State = std::u16string;

// An exchange of a tensor over an axis: all-reduce (P to B), reduce-scatter (P to S(1) or S(0)),
// all-gather (S(1) or S(0) to B).
struct Exchanged {
  int32_t tensor = -1;
  int axis = kInner;
  graph::Sbp from;
  graph::Sbp to;
  double seconds = 0;
  double bytes = 0;  // that a rank sends
};

// Operators that change their input.
bool WorksInPlace(v1::OperatorKind kind);

class LayoutRules {
 public:
  // options: for each operator at least one. All arguments outlive the rules.
  LayoutRules(const graph::Graph& graph, const Pricing& pricing, const GridOptions& options);
  LayoutRules(const LayoutRules&) = delete;
  LayoutRules& operator=(const LayoutRules&) = delete;

  size_t operators() const { return steps_.size(); }
  const GridOptions& options() const { return options_; }
  const graph::Graph& graph() const { return graph_; }
  const Pricing& pricing() const { return pricing_; }
  // Slots alive before operator `i` (i == operators(): after the last).
  size_t live(size_t i) const { return live_[i].size(); }
  // Two operators read and write the same places of states, and are of the same shape.
  bool Alike(size_t a, size_t b) const { return keys_[a] == keys_[b] && places_[a] == places_[b]; }
  const std::string& key(size_t i) const { return keys_[i]; }
  // Of the operator alone.
  const Price& price(size_t i, size_t option) const { return (*prices_[i])[option]; }

  // Seconds of the exchanges that operator `i` needs with that option, kNever where it cannot run;
  // `next` is the state after it; `state` gets the layouts that inputs are exchanged to. exchanges:
  // if not null, gets what is exchanged.
  double Apply(size_t i, size_t option, State* state, State* next,
               std::vector<Exchanged>* exchanges = nullptr) const;
  // The states that there can be behind operator `i`, by option, if all that lives there is what it
  // writes; else none.
  std::vector<State> StatesBehind(size_t i) const;
  // At most so much more a stretch of operators that begins with `i` takes in one state than in
  // another: the exchanges of the tensors that are alive before it. Over one axis each is exchanged
  // at most twice: with both letters of a pair made B nothing is left to exchange.
  double EntrySeconds(size_t i) const;
  // What the schedule needs after the last operator: logits that are whole.
  double Finish(const State& state, std::vector<Exchanged>* exchanges = nullptr) const;

 private:
  // A slot that is alive after an operator: where it was before it, or which output it is.
  enum : int32_t { kSeen = -1000 };
  struct Step {
    std::vector<int32_t> inputs;     // places in the state before, -1: absent
    std::vector<bool> last;          // by input: nobody reads it later
    std::vector<int32_t> survivors;  // by place after: place before, or -1 - output, or kSeen
    // The place of what the operator must see as those before it did, or -1.
    int32_t seen = -1;
  };
  // A tensor, who reads it, and whether it is the last one to.
  struct Reading {
    int32_t tensor = -1;
    const graph::Operator* reader = nullptr;  // null: the schedule
    bool last = false;
  };

  // What `op` must see as others do, or -1.
  int32_t SeenSlot(const graph::Operator& op) const;
  void FindLiveSlots();
  void FindPlaces();
  std::string KeyOf(size_t i) const;
  // Makes a tensor readable as `wanted`: its seconds.
  double Box(const Reading& reading, int wanted, char16_t* has,
             std::vector<Exchanged>* exchanges) const;
  double Convert(const Reading& reading, int from, int wanted, int* made,
                 std::vector<Exchanged>* exchanges) const;
  // Whether conversions can go on to `target` on an axis on which it lies as `now`.
  bool Possible(const Reading& reading, graph::Sbp now, graph::Sbp target) const;

  const graph::Graph& graph_;
  const Pricing& pricing_;
  const GridOptions& options_;
  size_t layers_ = 0;                       // of KV caches
  std::vector<int32_t> producer_;           // of each slot: tensors, caches, selections
  std::vector<std::vector<int32_t>> live_;  // slots, by operator
  std::vector<Step> steps_;
  std::vector<std::string> keys_;    // what an operator is, but for its block
  std::vector<std::string> places_;  // its Step, as text
  // Operators of one key cost the same.
  std::map<std::string, std::vector<Price>> price_of_key_;
  std::vector<const std::vector<Price>*> prices_;  // by operator, then option
};

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_LAYOUT_RULES_H_
