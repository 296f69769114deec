#include "engine/plan/repetition.h"

#include <map>
#include <string>
#include <vector>

namespace mneme::plan {
namespace {

constexpr size_t kLeastPeriod = 4;

// Whether the stretches are alike in their places too, and at their ends.
bool Holds(const LayoutRules& rules, const Repetition& r) {
  for (size_t j = 1; j < r.count; ++j) {
    for (size_t q = 0; q < r.period; ++q) {
      if (!rules.Alike(r.begin + q, r.begin + j * r.period + q)) return false;
    }
  }
  for (size_t j = 0; j <= r.count; ++j) {
    if (rules.live(r.begin + j * r.period) != rules.live(r.begin)) return false;
  }
  return true;
}

// The part of a run for which that is so: its ends may border on something else.
Repetition Trimmed(const LayoutRules& rules, Repetition r) {
  for (int front = 0; front < 2; ++front, r.begin += r.period, --r.count) {
    for (size_t back = 0; back < 2 && r.count >= 2 + back; ++back) {
      const Repetition part = {r.begin, r.period, r.count - back};
      if (Holds(rules, part)) return part;
    }
    if (r.count < 3) break;
  }
  return {};
}

}  // namespace

Repetition FindRepetition(const LayoutRules& rules) {
  const size_t count = rules.operators();
  std::map<std::string, int> numbers;
  std::vector<int> kind(count);
  for (size_t i = 0; i < count; ++i) {
    kind[i] = numbers.try_emplace(rules.key(i), static_cast<int>(numbers.size())).first->second;
  }
  Repetition best;
  for (size_t period = kLeastPeriod; 2 * period <= count; ++period) {
    for (size_t i = 0; i + period < count;) {
      size_t run = 0;
      while (i + run + period < count && kind[i + run] == kind[i + run + period]) ++run;
      const size_t times = run / period + 1;
      if (times >= 2 && times * period > best.count * best.period) {
        const Repetition r = Trimmed(rules, {i, period, times});
        if (r.count * r.period > best.count * best.period) best = r;
      }
      i += run + 1;
    }
  }
  return best;
}

}  // namespace mneme::plan
