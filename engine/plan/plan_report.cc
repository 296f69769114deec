#include "engine/plan/plan_report.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/plan/fastest_form.h"
#include "engine/plan/planner.h"
#include "engine/plan/register_bytes.h"
#include "engine/plan/row_splits.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;

constexpr int64_t kBatches[] = {1, 8, 32};
constexpr int64_t kPrefill = 512;

std::string KindName(v1::OperatorKind kind) {
  std::string name = v1::OperatorKind_Name(kind);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

std::string KindOf(const Exchanged& e) {
  return e.from != Sbp::P() ? "all-gather" : e.to == Sbp::B() ? "all-reduce" : "reduce-scatter";
}

// Walks a plan of a step: what each operator and each exchange takes.
class Walk {
 public:
  Walk(const Graph& graph, const GridPartition& partition, const CostModel& cost,
       const GridOptions& options, const StepShape& shape)
      : graph_(graph), pricing_(graph, partition, cost, shape), rules_(graph, pricing_, options) {}

  // Calls on_operator(index, price) and on_exchange(index, exchange), in order; an exchange before
  // the operator that needs it, those of the logits with the number of operators.
  template <class F, class G>
  void Run(const Found& found, const F& on_operator, const G& on_exchange) const {
    State state, next;
    std::vector<Exchanged> exchanges;
    const auto tell = [&](size_t i) {
      for (const Exchanged& e : exchanges) on_exchange(i, e);
      exchanges.clear();
    };
    for (size_t i = 0; i < graph_.operators.size(); ++i) {
      rules_.Apply(i, found.options[i], &state, &next, &exchanges);
      tell(i);
      on_operator(i, rules_.price(i, found.options[i]));
      state = next;
    }
    rules_.Finish(state, &exchanges);
    tell(graph_.operators.size());
  }

 private:
  const Graph& graph_;
  const Pricing pricing_;
  const LayoutRules rules_;
};

class Reporter {
 public:
  // inner: what may be chosen on the inner axis; all outlive the reporter.
  Reporter(const Graph& graph, const Cluster& cluster, const ReportOptions& options,
           const SignatureOptions& inner)
      : graph_(graph),
        cluster_(cluster),
        options_(options),
        partition_(graph, Grid::Of(cluster)),
        signatures_(
            Combine(graph, partition_,
                    WithRowSplits(graph, RunnableSignatures(graph, partition_.over(true, false))),
                    WithRowSplits(graph, inner))) {
    cost_ = CostOf(cluster);
    cost_.context = options.context;
    needs_.kv_positions =
        options.kv_positions > 0 ? options.kv_positions : kBatches[2] * (options.context + 1);
    needs_.registers = [tokens = options.step_tokens](const LayoutRules& rules,
                                                      const std::vector<size_t>& chosen) {
      return RegisterBytesBound(rules, chosen, tokens, /*logit_rows=*/kBatches[2]);
    };
  }

  // The layouts that the report is of.
  absl::StatusOr<Found> Choose() const {
    CostModel cost = options_.planned_for == nullptr ? cost_ : CostOf(*options_.planned_for);
    cost.context = options_.context;
    absl::StatusOr<Found> found = Planner(graph_, partition_, cost, signatures_, needs_).Decode();
    if (found.ok()) return found;
    return absl::Status(found.status().code(),
                        absl::StrCat(options_.model_name, " on ", cluster_.name, ": ",
                                     std::string(found.status().message())));
  }

  PlanReport Run(const Found& decode) {
    const Planner planner(graph_, partition_, cost_, signatures_, needs_);
    report_.model = options_.model_name;
    report_.architecture = graph_.architecture;
    report_.cluster = cluster_;
    report_.kv_positions = needs_.kv_positions;
    AddMemory(planner, decode);
    AddOperators(planner, decode);
    for (int64_t batch : kBatches) {
      AddStep(absl::StrCat("decode of ", batch), StepShape::Decode(batch, options_.context),
              planner, decode);
    }
    AddStep(absl::StrCat("prefill of ", kPrefill), StepShape::Prefill(kPrefill), planner, decode);
    return std::move(report_);
  }

 private:
  void AddMemory(const Planner& planner, const Found& decode) {
    const LayoutRules& rules = planner.rules();
    const double held = Evaluate(rules, planner.memory(), decode.options).bytes;
    report_.weight_bytes = Evaluate(rules, MemoryAccount(rules, 0), decode.options).bytes;
    report_.kv_bytes = held - report_.weight_bytes;
    report_.register_bytes = planner.RegisterBytesOf(decode.options);
  }

  void AddOperators(const Planner& planner, const Found& decode) {
    const Walk walk(graph_, partition_, cost_, signatures_, StepShape::Decode(1, options_.context));
    const Repetition& repetition = planner.repetition();
    walk.Run(
        decode,
        [&](size_t i, const Price& price) {
          if (repetition.First(i) != i) return;
          const Operator& op = graph_.operators[i];
          OperatorReport o{.name = op.name,
                           .kind = KindName(op.kind),
                           .times = repetition.Times(i),
                           .layout = LayoutName(i, decode),
                           .seconds = price.seconds,
                           .mean_seconds = price.mean_seconds,
                           .bytes = price.bytes,
                           .runner_up = "",
                           .runner_up_seconds = 0};
          if (options_.runner_ups) AddRunnerUp(planner, decode, i, &o);
          report_.operators.push_back(std::move(o));
        },
        [&](size_t i, const Exchanged& e) { AddExchange(repetition, i, e); });
  }

  std::string LayoutName(size_t i, const Found& found) const {
    return GridSignatureName(graph_.operators[i], partition_.grid(),
                             signatures_[i][found.options[i]]);
  }

  void AddRunnerUp(const Planner& planner, const Found& decode, size_t i, OperatorReport* o) {
    if (signatures_[i].size() < 2) return;
    const Found other = planner.RunnerUp(i, decode);
    if (other.options.empty()) return;
    o->runner_up = LayoutName(i, other);
    o->runner_up_seconds = other.seconds;
  }

  // Exchanges of repeated blocks count where the second one has them: the first may differ.
  void AddExchange(const Repetition& repetition, size_t i, const Exchanged& e) {
    const std::string kind = KindOf(e);
    const std::string& axis =
        cluster_.axes[cluster_.axes.size() > 1 && e.axis == kOuter ? 0 : cluster_.axes.size() - 1]
            .name;
    const bool repeated = repetition.First(i) != i;
    std::string name = graph_.tensors[e.tensor].name;
    if (repeated) {
      const size_t place = (i - repetition.begin) % repetition.period;
      const auto it = std::find_if(repeated_.begin(), repeated_.end(), [&](const auto& known) {
        return known.first == std::pair(place, e.axis) &&
               report_.exchanges[known.second].kind == kind;
      });
      if (it != repeated_.end()) {
        ++report_.exchanges[it->second].times;
        return;
      }
      repeated_.push_back({{place, e.axis}, report_.exchanges.size()});
    } else if (repetition.Times(i) > 1) {
      repeated_.push_back({{i - repetition.begin, e.axis}, report_.exchanges.size()});
    }
    report_.exchanges.push_back({name, axis, kind, 1, e.seconds, e.bytes});
  }

  void AddStep(const std::string& name, const StepShape& shape, const Planner& planner,
               const Found& decode) {
    const LayoutPins::LargeSteps large = options_.pins.large_steps;
    const Found found =
        large == LayoutPins::LargeSteps::kSame
            ? decode
            : planner.ForStep(shape, decode, large == LayoutPins::LargeSteps::kRows);
    StepReport step;
    step.name = name;
    step.shape = shape;
    const Walk walk(graph_, partition_, cost_, signatures_, shape);
    walk.Run(
        found,
        [&](size_t, const Price& price) {
          step.seconds += price.seconds;
          step.mean_seconds += price.mean_seconds;
          step.read_bytes += price.bytes;
        },
        [&](size_t, const Exchanged& e) {
          step.exchange_seconds += e.seconds;
          step.sent_bytes += e.bytes;
        });
    step.seconds += step.exchange_seconds;
    step.mean_seconds += step.exchange_seconds;
    for (size_t i = 0; i < found.options.size(); ++i) {
      if (planner.repetition().First(i) != i || found.options[i] == decode.options[i]) continue;
      step.otherwise.push_back({graph_.operators[i].name, LayoutName(i, found)});
    }
    report_.steps.push_back(std::move(step));
  }

  const Graph& graph_;
  const Cluster& cluster_;
  const ReportOptions& options_;
  const GridPartition partition_;
  const GridOptions signatures_;
  CostModel cost_;
  MemoryNeeds needs_;
  PlanReport report_;
  // By place in a block and axis: which of the report's exchanges it is.
  std::vector<std::pair<std::pair<size_t, int>, size_t>> repeated_;
};

// A form of the graph: what may be chosen in it, and what is.
struct Form {
  graph::Graph graph;
  SignatureOptions inner;
  std::unique_ptr<Reporter> reporter;
  Found found;
};

absl::StatusOr<std::unique_ptr<Form>> ChooseIn(Graph graph, const Cluster& cluster,
                                               const ReportOptions& options) {
  auto form = std::make_unique<Form>();
  form->graph = std::move(graph);
  const Partition partition(form->graph, Grid::Of(cluster).ranks[kInner]);
  absl::StatusOr<SignatureOptions> inner = PinnedSignatures(form->graph, partition, options.pins);
  if (!inner.ok()) return inner.status();
  form->inner = *std::move(inner);
  form->reporter = std::make_unique<Reporter>(form->graph, cluster, options, form->inner);
  absl::StatusOr<Found> found = form->reporter->Choose();
  if (!found.ok()) return found.status();
  form->found = *std::move(found);
  return form;
}

}  // namespace

absl::StatusOr<PlanReport> MakeReport(const Graph& graph, const Cluster& cluster,
                                      const ReportOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  auto form = FastestForm(
      graph, cluster.ranks(), options.pins,
      [&](const Graph& each) { return ChooseIn(each, cluster, options); },
      [](const std::unique_ptr<Form>& chosen) { return chosen->found.seconds; });
  if (!form.ok()) return form.status();
  const std::chrono::duration<double> planning = std::chrono::steady_clock::now() - start;
  PlanReport report = (*form)->reporter->Run((*form)->found);
  report.planning_seconds = planning.count();
  return report;
}

}  // namespace mneme::plan
