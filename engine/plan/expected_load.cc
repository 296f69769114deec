#include "engine/plan/expected_load.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <vector>

namespace mneme::plan {
namespace {

// Coefficients of polynomials and probabilities. Long: C(1024, 512) / 2^1024 has factors that no
// double holds.
using Row = std::vector<long double>;

// C(n, j) / 2^n for j in [0, n].
Row Binomials(int64_t n) {
  Row row = {1};
  for (int64_t i = 0; i < n; ++i) {
    Row next(row.size() + 1, 0);
    for (size_t j = 0; j < row.size(); ++j) {
      next[j] += row[j] / 2;
      next[j + 1] += row[j] / 2;
    }
    row = std::move(next);
  }
  return row;
}

Row Product(const Row& a, const Row& b, int64_t most) {
  Row product(static_cast<size_t>(most + 1), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < b.size() && i + j < product.size(); ++j) product[i + j] += a[i] * b[j];
  }
  return product;
}

// By number of active experts: its probability after `tokens` tokens.
Row ActiveDistribution(int64_t experts, int64_t top_k, int64_t tokens) {
  // Of a token's experts `fresh` are new when `active` are so already: hypergeometric.
  const auto log_choose = [](int64_t n, int64_t k) {
    return std::lgamma(static_cast<double>(n + 1)) - std::lgamma(static_cast<double>(k + 1)) -
           std::lgamma(static_cast<double>(n - k + 1));
  };
  Row now(static_cast<size_t>(experts + 1), 0);
  now[0] = 1;
  for (int64_t t = 0; t < tokens && now[experts] < 1 - 1e-9L; ++t) {
    Row next(now.size(), 0);
    for (int64_t active = 0; active <= experts; ++active) {
      if (now[active] < 1e-18L) continue;
      for (int64_t fresh = std::max<int64_t>(0, top_k - active);
           fresh <= std::min(top_k, experts - active); ++fresh) {
        const double p = std::exp(log_choose(experts - active, fresh) +
                                  log_choose(active, top_k - fresh) - log_choose(experts, top_k));
        next[active + fresh] += now[active] * p;
      }
    }
    now = std::move(next);
  }
  return now;
}

// Expected maximum of `ranks` independent standard normal variables.
double NormalMaximum(int32_t ranks) {
  double sum = 0;
  constexpr double kStep = 1e-3;
  for (double x = -8; x < 8; x += kStep) {
    const double below = std::pow(0.5 * std::erfc(-x / std::sqrt(2.0)), ranks);
    sum += kStep * (x < 0 ? -below : 1 - below);
  }
  return sum;
}

// Beyond it the binomial variables of the ranks are taken as independent.
constexpr int64_t kMostExact = 256;

double PoissonTerm(double mean, int64_t k) {
  const double n = static_cast<double>(k);
  return std::exp(n * std::log(mean) - mean - std::lgamma(n + 1));
}

// The chance that no rank has more than m of the items: independent Poisson variables, given their
// sum.
double WithinExactly(int64_t items, int32_t ranks, int64_t m) {
  const double mean = static_cast<double>(items) / ranks;
  Row one;
  for (int64_t j = 0; j <= m; ++j) one.push_back(PoissonTerm(mean, j));
  Row all = {1};
  for (int32_t r = 0; r < ranks; ++r) {
    all = Product(one, all, std::min<int64_t>(items, static_cast<int64_t>(all.size()) - 1 + m));
  }
  const double sum = PoissonTerm(static_cast<double>(items), items);
  return static_cast<int64_t>(all.size()) > items ? static_cast<double>(all[items]) / sum : 0;
}

// The same for ever larger m, as if ranks were independent: each is a binomial variable.
class WithinNearly {
 public:
  WithinNearly(int64_t items, int32_t ranks) : n_(static_cast<double>(items)), ranks_(ranks) {}

  // REQUIRES: m is one more than in the last call, 0 in the first.
  double Next(int64_t m) {
    const double k = static_cast<double>(m);
    below_ += std::exp(all_ - std::lgamma(k + 1) - std::lgamma(n_ - k + 1) - k * log_ranks_ +
                       (n_ - k) * log_others_);
    return std::pow(std::min(1.0, below_), ranks_);
  }

 private:
  const double n_;
  const int32_t ranks_;
  const double all_ = std::lgamma(n_ + 1);
  const double log_ranks_ = std::log(ranks_);
  const double log_others_ = std::log1p(-1.0 / ranks_);
  double below_ = 0;  // the chance that one rank has at most m
};

Load ComputeActiveExperts(int64_t experts, int64_t top_k, int32_t ranks, int64_t tokens) {
  const Row active = ActiveDistribution(experts, top_k, tokens);
  long double mean = 0;
  for (int64_t n = 0; n <= experts; ++n) mean += active[n] * static_cast<long double>(n);
  Load load{static_cast<double>(mean) / ranks, 0};
  const int64_t most = (experts + ranks - 1) / ranks;
  const int64_t fuller = experts % ranks == 0 ? ranks : experts % ranks;  // ranks with `most`
  const Row all = Binomials(experts);
  const Row of_full = Binomials(most);
  const Row of_other = Binomials(fuller == ranks ? most : most - 1);
  // E[max] = sum over m of P(max > m).
  for (int64_t m = 0; m < most; ++m) {
    const auto cut = [m](Row row) {
      row.resize(std::min<size_t>(row.size(), static_cast<size_t>(m + 1)));
      return row;
    };
    Row within = {1};
    for (int32_t r = 0; r < ranks; ++r) {
      within = Product(within, cut(r < fuller ? of_full : of_other), experts);
    }
    long double above = 1;
    for (int64_t n = 0; n <= experts; ++n) above -= active[n] * within[n] / all[n];
    load.maximum += static_cast<double>(std::max(0.0L, above));
  }
  return load;
}

Load ComputeExpertUses(int64_t experts, int64_t top_k, int32_t ranks, int64_t tokens) {
  const double mean = static_cast<double>(tokens * top_k) / ranks;
  if (ranks == 1) return {mean, mean};
  if (tokens == 1) return ComputeActiveExperts(experts, top_k, ranks, 1);
  // Of one token on one rank: hypergeometric. Ranks are correlated by -1 / (ranks - 1).
  const double variance = static_cast<double>(top_k) / ranks * (1 - 1.0 / ranks) *
                          static_cast<double>(experts - top_k) /
                          static_cast<double>(std::max<int64_t>(1, experts - 1));
  const double spread = std::sqrt(static_cast<double>(tokens) * variance * ranks / (ranks - 1));
  return {mean, mean + NormalMaximum(ranks) * spread};
}

Load ComputeSpreadItems(int64_t items, int32_t ranks) {
  const double mean = static_cast<double>(items) / ranks;
  if (ranks == 1 || items == 0) return {mean, mean};
  double maximum = 0;
  WithinNearly nearly(items, ranks);
  for (int64_t m = 0; m < items; ++m) {
    const double within = items > kMostExact ? nearly.Next(m) : 0;
    // With so few a rank, some rank has more.
    const double above = m * ranks < items     ? 1
                         : items <= kMostExact ? 1 - WithinExactly(items, ranks, m)
                                               : 1 - within;
    maximum += std::max(0.0, above);
    if (above < 1e-9) break;
  }
  return {mean, maximum};
}

// What a function gives, kept by its arguments: a search for layouts asks the same of every layer,
// and again for every signature and number of ranks. Thread safe.
class Memo {
 public:
  using Key = std::array<int64_t, 4>;

  template <class Compute>
  Load Get(const Key& key, const Compute& compute) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = kept_.find(key);
      if (found != kept_.end()) return found->second;
    }
    const Load load = compute();
    const std::lock_guard lock(mutex_);
    // Far more than a search asks for; a process that plans for good must not grow for good.
    if (kept_.size() >= kMostKept) kept_.clear();
    kept_.emplace(key, load);
    return load;
  }

 private:
  static constexpr size_t kMostKept = 4096;

  std::mutex mutex_;
  std::map<Key, Load> kept_;
};

}  // namespace

Load ActiveExperts(int64_t experts, int64_t top_k, int32_t ranks, int64_t tokens) {
  static auto* const memo = new Memo;
  return memo->Get({experts, top_k, ranks, tokens},
                   [&] { return ComputeActiveExperts(experts, top_k, ranks, tokens); });
}

Load ExpertUses(int64_t experts, int64_t top_k, int32_t ranks, int64_t tokens) {
  static auto* const memo = new Memo;
  return memo->Get({experts, top_k, ranks, tokens},
                   [&] { return ComputeExpertUses(experts, top_k, ranks, tokens); });
}

Load SpreadItems(int64_t items, int32_t ranks) {
  static auto* const memo = new Memo;
  return memo->Get({items, ranks}, [&] { return ComputeSpreadItems(items, ranks); });
}

}  // namespace mneme::plan
