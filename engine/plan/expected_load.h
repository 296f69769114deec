// How much falls to the fullest rank when data decide, in expectation: a step ends when the last
// rank ends, so the mean over ranks is not its time. Choices are taken as uniform and, from token
// to token, independent.
#ifndef MNEME_ENGINE_PLAN_EXPECTED_LOAD_H_
#define MNEME_ENGINE_PLAN_EXPECTED_LOAD_H_

#include <cstdint>

namespace mneme::plan {

struct Load {
  double mean = 0;     // of one rank
  double maximum = 0;  // expected, of the fullest rank
};

// Distinct experts that a step of `tokens` tokens reads on a rank, each token choosing `top_k`
// distinct ones of `experts`, which are divided over `ranks` as evenly as they go. Exact: after t
// tokens the number of experts chosen is a Markov chain, and given their number every set of so
// many is equally likely. (64, 8, 8 ranks, 1 token: mean 1, maximum 2.5.)
// REQUIRES: 1 <= top_k <= experts <= 1024, ranks >= 1, tokens >= 1.
Load ActiveExperts(int64_t experts, int64_t top_k, int32_t ranks, int64_t tokens);

// Pairs of a token and an expert that a rank computes. Exact for one token; for more the maximum of
// normal variables of the same variance and correlation.
Load ExpertUses(int64_t experts, int64_t top_k, int32_t ranks, int64_t tokens);

// Of `items` that each lie on any of `ranks` ranks with equal chances: rows of a table whose slots
// are dealt out in turn. Exact up to 256 items; beyond as if ranks were independent, which is at
// most some percent less.
Load SpreadItems(int64_t items, int32_t ranks);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_EXPECTED_LOAD_H_
