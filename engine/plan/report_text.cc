#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/plan/plan_report.h"
#include "engine/plan/readable.h"

namespace mneme::plan {
namespace {

// A difference that three digits show.
constexpr double kLittleMore = 1.005;

std::string Times(size_t times) { return times == 1 ? "" : absl::StrCat(times, " x"); }

// Where data decide, both what the fullest rank takes and the mean.
std::string SecondsText(double seconds, double mean) {
  if (seconds <= mean * kLittleMore) return ReadableSeconds(seconds);
  return absl::StrCat(ReadableSeconds(seconds), " (mean ", ReadableSeconds(mean), ")");
}

void AppendOperators(const PlanReport& r, std::string* out) {
  absl::StrAppend(out, "\noperator of a decode step, layouts of inputs and weights -> outputs, ",
                  "time; next best and what the step would take longer\n");
  for (const OperatorReport& o : r.operators) {
    absl::StrAppendFormat(out, "%5s %-26s %-28s %-10s", Times(o.times), o.name, o.layout,
                          SecondsText(o.seconds, o.mean_seconds));
    if (!o.runner_up.empty()) {
      absl::StrAppendFormat(
          out, "  %s +%s", o.runner_up,
          ReadableSeconds(std::max(0.0, o.runner_up_seconds - r.steps[0].seconds)));
    }
    while (out->back() == ' ') out->pop_back();
    absl::StrAppend(out, "\n");
  }
  for (const StepReport& s : r.steps) {
    if (s.otherwise.empty()) continue;
    absl::StrAppend(out, "\noperators that are divided otherwise in a ", s.name, "\n");
    for (const OtherLayout& o : s.otherwise) {
      absl::StrAppendFormat(out, "      %-26s %s\n", o.name, o.layout);
    }
  }
}

}  // namespace

std::string ReportText(const PlanReport& r, bool operators) {
  std::string grid;
  for (const Axis& axis : r.cluster.axes) {
    absl::StrAppend(&grid, grid.empty() ? "" : " x ", axis.name, " ", axis.ranks);
  }
  std::string out = absl::StrCat(r.model, " (", r.architecture, ") on ", r.cluster.name, ": ", grid,
                                 ", device ", r.cluster.device, "\n");
  const int64_t limit = r.cluster.memory[0].bytes;
  absl::StrAppend(&out, r.cluster.shared_memory ? "all ranks together hold " : "a rank holds ",
                  ReadableBytes(r.weight_bytes + r.kv_bytes + r.register_bytes),
                  limit > 0 ? absl::StrCat(" of ", ReadableBytes(static_cast<double>(limit))) : "",
                  ": weights ", ReadableBytes(r.weight_bytes), ", KV cache of ", r.kv_positions,
                  " positions ", ReadableBytes(r.kv_bytes), ", registers at most ",
                  ReadableBytes(r.register_bytes), "\n");
  for (const StepReport& s : r.steps) {
    absl::StrAppendFormat(&out, "%-14s predicted %-9s of which exchanges %-9s reads %-8s sends %s",
                          s.name, ReadableSeconds(s.seconds), ReadableSeconds(s.exchange_seconds),
                          ReadableBytes(s.read_bytes), ReadableBytes(s.sent_bytes));
    if (s.seconds > s.mean_seconds * kLittleMore) {
      absl::StrAppend(&out, ", mean rank ", ReadableSeconds(s.mean_seconds));
    }
    absl::StrAppend(&out, "\n");
  }
  for (const ExchangeReport& e : r.exchanges) {
    absl::StrAppendFormat(&out, "%5s %s over %s of %s: %s, %s\n", Times(e.times), e.kind, e.axis,
                          e.tensor, ReadableSeconds(e.seconds), ReadableBytes(e.bytes));
  }
  if (operators) AppendOperators(r, &out);
  return out;
}

}  // namespace mneme::plan
