// What a plan of a model on a cluster is expected to do, for a person and for programs: the layout
// of every operator and what the next best would have cost, memory, bytes and times of some steps.
// For any cluster, also one that this runtime does not execute.
#ifndef MNEME_ENGINE_PLAN_PLAN_REPORT_H_
#define MNEME_ENGINE_PLAN_PLAN_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/plan/cluster.h"
#include "engine/plan/cost_model.h"
#include "engine/plan/runnable_signatures.h"

namespace mneme::plan {

// An operator, with those of other blocks that share its layouts.
struct OperatorReport {
  std::string name;  // of the first of them
  std::string kind;
  size_t times = 1;
  std::string layout;            // its signature
  double seconds = 0;            // of one of them, on the fullest rank
  double mean_seconds = 0;       // on the mean rank
  double bytes = 0;              // read, on the fullest rank
  std::string runner_up;         // the signature of the best other plan; empty: there is none
  double runner_up_seconds = 0;  // what a decode step would take with it
};

// What is exchanged behind an operator of a decode step.
struct ExchangeReport {
  std::string tensor;
  std::string axis;
  std::string kind;  // "all-reduce", "reduce-scatter", "all-gather"
  size_t times = 1;
  double seconds = 0;  // of one of them
  double bytes = 0;    // that a rank sends
};

// An operator that is divided otherwise than in a decode step of one token.
struct OtherLayout {
  std::string name;  // the first one's of repeated blocks
  std::string layout;
};

struct StepReport {
  std::string name;  // "decode of 8"
  StepShape shape;
  double seconds = 0;           // on the fullest rank
  double mean_seconds = 0;      // if all ranks had as much to do
  double exchange_seconds = 0;  // of either
  double read_bytes = 0;        // on the fullest rank
  double sent_bytes = 0;        // by a rank
  std::vector<OtherLayout> otherwise;
};

struct PlanReport {
  std::string model;
  std::string architecture;
  Cluster cluster;
  // Of a rank, or of all together where they share their memory.
  double weight_bytes = 0;
  double kv_bytes = 0;
  double register_bytes = 0;  // at most
  int64_t kv_positions = 0;
  std::vector<OperatorReport> operators;  // in the order of the graph, repeated blocks once
  std::vector<ExchangeReport> exchanges;
  double planning_seconds = 0;    // that the choice of layouts took
  std::vector<StepReport> steps;  // decode of 1, 8 and 32 sequences, prefill of 512 tokens
};

struct ReportOptions {
  std::string model_name;
  int64_t context = 512;      // that each sequence of a decode step has
  int64_t kv_positions = 0;   // of all sequences; 0: what the reported steps need
  int64_t step_tokens = 512;  // rows of the largest step
  bool runner_ups = true;
  // What of the layouts is settled beforehand, on the inner axis.
  LayoutPins pins = {};
  // The cluster by whose costs layouts were chosen, if it is not the one that prices them: a plan
  // that was made before the machine was measured (better). Not owned.
  const Cluster* planned_for = nullptr;
};

// Between the forms of the graph (graph/pre_scores.h) it chooses, too. RESOURCE_EXHAUSTED with the
// bytes when no plan fits the cluster's ranks; INVALID_ARGUMENT: pins as of PinnedSignatures, or
// such that do not go together.
absl::StatusOr<PlanReport> MakeReport(const graph::Graph& graph, const Cluster& cluster,
                                      const ReportOptions& options);

// Some lines; with `operators` all of them, each with its layout and runner-up.
std::string ReportText(const PlanReport& report, bool operators);
// One JSON object, indented.
std::string ReportJson(const PlanReport& report);
// A page that needs nothing but itself.
std::string ReportHtml(const PlanReport& report);

}  // namespace mneme::plan

#endif  // MNEME_ENGINE_PLAN_PLAN_REPORT_H_
