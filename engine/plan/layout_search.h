// The signatures of least modelled time, within a rank's memory.
//
// Exact in its space: operators of repeated blocks share their signatures (repetition.h), a weight
// with several readers has one layout for all of them. Dynamic programming over operators; its
// state is the layouts of everything that lives at a cut, and in a state it keeps every label
// (seconds, bytes per rank) that no other one dominates. A repeated block is searched once, for all
// the states in which it may be entered at a time: its labels have the seconds for each of them.
#ifndef MNEME_ENGINE_PLAN_LAYOUT_SEARCH_H_
#define MNEME_ENGINE_PLAN_LAYOUT_SEARCH_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/plan/layout_rules.h"
#include "engine/plan/repetition.h"

namespace mneme::plan {

// Bytes of a rank's registers, by choice: an option for each operator.
using RegisterBytes =
    std::function<int64_t(const LayoutRules& rules, const std::vector<size_t>& options)>;

// What ranks hold beside the weights.
struct MemoryNeeds {
  int64_t kv_positions = 0;      // of all sequences
  RegisterBytes registers = {};  // empty: none
};

// Bytes of weights and KV caches that the fullest rank holds (all ranks together, where they share
// their memory), by choice.
class MemoryAccount {
 public:
  // kv_positions: of all sequences.
  MemoryAccount(const LayoutRules& rules, int64_t kv_positions);

  // Of the weights that this operator reads, alone or as the first of those that read one table
  // with the same selections, and of the cache it appends to.
  double OptionBytes(size_t i, size_t option) const;
  // A weight has one layout for all its readers. Whether they have the same.
  bool Agree(const std::vector<size_t>& option_of) const;
  // Of the weights with several readers, which agree.
  double SharedBytes(const std::vector<size_t>& option_of) const;
  // Whether operator `i` reads a weight with several readers as it is stored. By `root` in
  // shared().
  bool CanRead(size_t i, size_t option, size_t root, const GridLayout& stored) const;

  // The weights with several readers.
  struct SharedWeight {
    int32_t weight = -1;
    std::vector<std::pair<size_t, int>> readers;  // operator, operand
    std::vector<GridLayout> layouts;              // in which some reader may have it
    std::vector<double> bytes;                    // of each
  };
  const std::vector<SharedWeight>& shared() const { return shared_; }

 private:
  const LayoutRules& rules_;
  std::vector<SharedWeight> shared_;
  std::vector<int32_t> root_;         // by weight: index into shared_, or -1
  std::vector<size_t> first_reader_;  // by weight that has memory of its own
  double kv_positions_ = 0;
};

struct Found {
  std::vector<size_t> options;  // by operator; empty: there is none
  double seconds = kNever;
  double bytes = 0;    // of the MemoryAccount
  int64_t labels = 0;  // that the search kept on its way: what it took
};

struct Search {
  const LayoutRules& rules;
  const MemoryAccount& memory;
  Repetition repetition;
  // Options that may be chosen, by operator; operators of repeated blocks have the same.
  std::vector<std::vector<size_t>> allowed;
  double memory_bytes = kNever;
  // Seconds of some choice of this space: what cannot be better is not looked at.
  double bound = kNever;
};
Found FindLayouts(const Search& search);

// The least memory that any choice takes.
double LeastBytes(const Search& search);

// Seconds and bytes of a choice. The definition of what FindLayouts makes least.
Found Evaluate(const LayoutRules& rules, const MemoryAccount& memory,
               const std::vector<size_t>& options);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_LAYOUT_SEARCH_H_
