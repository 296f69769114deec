#include "engine/plan/planner.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/signatures.h"
#include "engine/plan/row_splits.h"
#include "engine/plan/weight_parts.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Signature;

// Options that hold weights and caches as `chosen` does. whole: or read all of a weight.
bool SameStorage(const Operator& op, const GridSignature& option, const GridSignature& chosen,
                 bool whole) {
  if (op.kind == v1::KV_APPEND || op.kind == v1::ATTENTION) return option == chosen;
  for (int axis : {kOuter, kInner}) {
    for (size_t k = 0; k < op.weights.size(); ++k) {
      if (op.weights[k] < 0 || option[axis].weights[k] == chosen[axis].weights[k]) continue;
      if (!whole || option[axis].weights[k] != graph::Sbp::B()) return false;
    }
  }
  return true;
}

bool DividesRows(const GridSignature& s) { return SplitsRows(s[kOuter]) || SplitsRows(s[kInner]); }

// A plan has so many programs at most: each takes memory and time to bind.
constexpr size_t kMostLargerSteps = 3;
// What another layout must save to be worth a program of its own.
constexpr double kWorthwhile = 0.98;

// Rows of a step that is divided by rows.
int64_t FewestRows(const Grid& grid) { return int64_t{2} * grid.total(); }

// Steps of one sequence's tokens where there are more than sequences of a batch.
StepShape ShapeOf(int64_t tokens, int64_t context) {
  constexpr int64_t kBatch = 64;
  return tokens <= kBatch ? StepShape::Decode(tokens, context) : StepShape::Prefill(tokens);
}

// What plans on the inner axis alone take is never less than what plans on both take, and is found
// soon.
Found FindOnGrid(Search search, const GridPartition& partition) {
  if (partition.grid().ranks[kOuter] == 1) return FindLayouts(search);
  const LayoutRules& rules = search.rules;
  Search inner = search;
  for (size_t i = 0; i < inner.allowed.size(); ++i) {
    const Signature whole = graph::Signatures(rules.graph(), rules.graph().operators[i])[0];
    std::erase_if(inner.allowed[i],
                  [&](size_t k) { return rules.options()[i][k][kOuter] != whole; });
    if (inner.allowed[i].empty()) return FindLayouts(search);
  }
  Found alone = FindLayouts(inner);
  search.bound = alone.seconds;
  Found both = FindLayouts(search);
  const int64_t labels = alone.labels + both.labels;
  Found found = both.seconds < alone.seconds ? std::move(both) : std::move(alone);
  found.labels = labels;
  return found;
}

// The one axis of `partition` as a grid.
GridOptions OneAxis(const Graph& graph, const GridPartition& grid,
                    const SignatureOptions& options) {
  SignatureOptions alone;
  for (const Operator& op : graph.operators) alone.push_back({graph::Signatures(graph, op)[0]});
  return Combine(graph, grid, alone, options);
}

}  // namespace

Planner::Planner(const Graph& graph, const GridPartition& partition, const CostModel& cost,
                 const GridOptions& options, const MemoryNeeds& needs)
    : graph_(graph),
      partition_(partition),
      cost_(cost),
      options_(options),
      needs_(needs),
      pricing_(graph, partition, cost, StepShape::Decode(1, cost.context)),
      rules_(graph, pricing_, options),
      memory_(rules_, needs.kv_positions),
      repetition_(FindRepetition(rules_)) {}

Search Planner::SearchAll() const {
  Search search{rules_, memory_, repetition_, {}, kNever};
  // Bytes are whole numbers, which shares make inexact.
  if (cost_.memory_bytes > 0) search.memory_bytes = static_cast<double>(cost_.memory_bytes) + 0.5;
  for (const std::vector<GridSignature>& options : options_) {
    search.allowed.emplace_back();
    for (size_t k = 0; k < options.size(); ++k) {
      if (!DividesRows(options[k])) search.allowed.back().push_back(k);
    }
  }
  return search;
}

double Planner::RegisterBytesOf(const std::vector<size_t>& options) const {
  if (!needs_.registers) return 0;
  const auto bytes = static_cast<double>(needs_.registers(rules_, options));
  return cost_.shared_memory ? bytes * partition_.grid().total() : bytes;
}

Found Planner::Within(Search search, double* registers) const {
  const double memory = search.memory_bytes;
  for (double left = 0;;) {
    if (registers != nullptr) *registers = left;
    search.memory_bytes = memory - left;
    Found found = FindOnGrid(search, partition_);
    if (memory == kNever || found.options.empty()) return found;
    const double needed = RegisterBytesOf(found.options);
    if (found.bytes + needed <= memory) return found;
    left = needed;
  }
}

absl::StatusOr<Found> Planner::Decode() const {
  const Search search = SearchAll();
  double registers = 0;
  Found found = Within(search, &registers);
  if (!found.options.empty() || graph_.operators.empty()) return found;
  Search roomy = search;
  roomy.memory_bytes = kNever;
  if (search.memory_bytes == kNever || FindOnGrid(roomy, partition_).options.empty()) {
    return absl::InvalidArgumentError(
        "one weight has one layout for all its readers, and some tensor would have to be read as "
        "it cannot lie");
  }
  const std::string of_registers =
      registers == 0 ? ""
                     : absl::StrCat(" beside ", static_cast<int64_t>(registers), " of registers");
  return absl::ResourceExhaustedError(absl::StrCat(
      "no plan fits: ", cost_.shared_memory ? "all ranks together" : "a rank",
      " would hold at least ", static_cast<int64_t>(LeastBytes(search)), " bytes", of_registers,
      " on ", partition_.grid().total(), partition_.grid().total() == 1 ? " rank" : " ranks",
      ", there are ", cost_.memory_bytes));
}

bool Planner::CanVary(size_t i, size_t option, const Found& decode) const {
  const GridSignature& chosen = options_[i][decode.options[i]];
  const GridSignature& other = options_[i][option];
  return SameSums(chosen[kOuter], other[kOuter]) && SameSums(chosen[kInner], other[kInner]) &&
         SameStorage(graph_.operators[i], other, chosen, cost_.shared_memory);
}

std::vector<size_t> Planner::Varieties(size_t i, const Found& decode, Rows rows) const {
  std::vector<size_t> allowed;
  for (size_t k = 0; k < options_[i].size(); ++k) {
    const bool whole = rows == Rows::kNone && DividesRows(options_[i][k]);
    if (!whole && CanVary(i, k, decode)) allowed.push_back(k);
  }
  // What works in place has the rows that its input was made with, a prefetch those of its gather.
  const v1::OperatorKind kind = graph_.operators[i].kind;
  const bool follows = WorksInPlace(kind) || kind == v1::VALUE_PREFETCH ||
                       (rows == Rows::kAllButTables && ReadsTable(kind));
  const auto divides = [&](size_t k) { return DividesRows(options_[i][k]); };
  const bool must = rows == Rows::kAll || rows == Rows::kAllButTables;
  if (must && !follows && std::any_of(allowed.begin(), allowed.end(), divides)) {
    std::erase_if(allowed, [&](size_t k) { return !divides(k); });
  }
  return allowed;
}

Found Planner::ForStep(const StepShape& step, const Found& decode, bool by_rows) const {
  const Pricing pricing(graph_, partition_, cost_, step);
  const LayoutRules rules(graph_, pricing, options_);
  const MemoryAccount memory(rules, 0);
  // All that read one token's selections divide them alike: where one of them cannot divide rows,
  // none does.
  std::vector<Rows> tried = {Rows::kFree};
  if (by_rows) tried = {Rows::kAll, Rows::kAllButTables, Rows::kFree};
  if (step.tokens < FewestRows(partition_.grid())) tried = {Rows::kNone};
  for (Rows rows : tried) {
    Search search{rules, memory, repetition_, {}, kNever};
    for (size_t i = 0; i < options_.size(); ++i) {
      search.allowed.push_back(Varieties(i, decode, rows));
    }
    Found found = FindOnGrid(std::move(search), partition_);
    if (!found.options.empty()) return found;
  }
  return {};
}

Found Planner::RunnerUp(size_t i, const Found& decode) const {
  Search search = SearchAll();
  const size_t first = repetition_.First(i);
  for (size_t j = 0; j < search.allowed.size(); ++j) {
    if (repetition_.First(j) == first) std::erase(search.allowed[j], decode.options[i]);
  }
  if (search.allowed[first].empty()) return {};
  return Within(std::move(search));
}

namespace {

std::vector<Signature> OfInnerAxis(const GridOptions& options, const Found& found) {
  std::vector<Signature> signatures;
  for (size_t i = 0; i < options.size(); ++i) {
    signatures.push_back(options[i][found.options[i]][kInner]);
  }
  return signatures;
}

double StepSeconds(const Graph& graph, const GridPartition& grid, const CostModel& cost,
                   const GridOptions& options, const StepShape& step,
                   const std::vector<size_t>& chosen) {
  const Pricing pricing(graph, grid, cost, step);
  const LayoutRules rules(graph, pricing, options);
  return Evaluate(rules, MemoryAccount(rules, 0), chosen).seconds;
}

// Sizes are looked at by powers of two: each that another layout serves better than that of the
// size before begins a program.
void AddLargerSteps(const Graph& graph, const GridPartition& grid, const CostModel& cost,
                    const GridOptions& options, const Planner& planner, const Found& decode,
                    const StepSizes& sizes, Choice* choice) {
  const bool by_rows = sizes.large == LayoutPins::LargeSteps::kRows;
  std::vector<size_t> current = decode.options;
  for (int64_t tokens = FewestRows(grid.grid());
       tokens <= sizes.max_tokens && choice->larger_steps.size() < kMostLargerSteps; tokens *= 2) {
    const StepShape step = ShapeOf(tokens, cost.context);
    const Found best = planner.ForStep(step, decode, by_rows);
    if (best.options.empty() || best.options == current) continue;
    const double now = StepSeconds(graph, grid, cost, options, step, current);
    if (!by_rows && best.seconds > kWorthwhile * now) continue;
    current = best.options;
    choice->larger_steps.push_back({tokens, OfInnerAxis(options, best)});
    if (by_rows) break;
  }
}

}  // namespace

absl::StatusOr<Choice> ChooseSignatures(const Graph& graph, const Partition& partition,
                                        const CostModel& cost, const SignatureOptions& options,
                                        const MemoryNeeds& needs, const StepSizes& sizes) {
  const GridPartition grid(graph, {{1, partition.ranks()}});
  const bool vary = partition.ranks() > 1 && sizes.large != LayoutPins::LargeSteps::kSame;
  const GridOptions grid_options =
      OneAxis(graph, grid, vary ? WithRowSplits(graph, options) : options);
  const Planner planner(graph, grid, cost, grid_options, needs);
  const absl::StatusOr<Found> found = planner.Decode();
  if (!found.ok()) return found.status();
  Choice choice;
  choice.seconds = found->seconds;
  choice.signatures = OfInnerAxis(grid_options, *found);
  if (vary) AddLargerSteps(graph, grid, cost, grid_options, planner, *found, sizes, &choice);
  const StepShape longest = {
      .tokens = sizes.max_tokens,
      .sequences = 1,
      .context = std::max<int64_t>(0, sizes.max_positions - sizes.max_tokens),
      .logit_rows = 1};
  choice.longest_step_seconds =
      StepSeconds(graph, grid, cost, grid_options, longest, found->options);
  return choice;
}

double ModelledSeconds(const Graph& graph, const Partition& partition, const CostModel& cost,
                       const std::vector<Signature>& signatures) {
  const GridPartition grid(graph, {{1, partition.ranks()}});
  SignatureOptions options;
  for (const Signature& s : signatures) options.push_back({s});
  const GridOptions grid_options = OneAxis(graph, grid, options);
  const Pricing pricing(graph, grid, cost, StepShape::Decode(1, cost.context));
  const LayoutRules rules(graph, pricing, grid_options);
  return Evaluate(rules, MemoryAccount(rules, 0), std::vector<size_t>(signatures.size(), 0))
      .seconds;
}

}  // namespace mneme::plan
