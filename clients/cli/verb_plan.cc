#include <fstream>

#include "absl/strings/str_cat.h"
#include "clients/cli/model_flags.h"
#include "clients/cli/plan_check.h"
#include "clients/cli/shape_flags.h"
#include "clients/cli/verbs.h"
#include "engine/calibrate.h"
#include "engine/plan/explain.h"
#include "engine/plan/plan_report.h"
#include "engine/plan/readable.h"

namespace mneme::cli {
namespace {

// The most that a prediction may differ from what is measured.
constexpr double kTolerance = 0.25;
constexpr char kCheckedShape[] = "ultramem-1b-7b";
constexpr int64_t kCheckedLayers = 2;

struct PlanFlags {
  ModelFlags model;
  ShapeFlags shape;
  bool explain = false;
  bool text = false;
  bool json = false;
  std::string html;
  bool check = false;

  FlagTable Table() {
    FlagTable flags(
        "plan", "",
        "Plans a model without reading its weights. Without --cluster: the plan that `serve` would "
        "run here, with the operators in their order, the memory of each rank, the bytes a token "
        "costs. With --cluster, also one that there is not: the layout of every operator, memory, "
        "predicted times of steps.");
    model.AddTo(&flags, "The checkpoint. Without it and --shape: the demo model.");
    shape.AddTo(&flags);
    flags.Add("explain", &explain,
              "With --cluster: every operator with the next best layout and what it would cost.");
    flags.Add("json", &json, "Print the report of --cluster as JSON.");
    flags.Add("html", &html, "FILE", "Draw the report of --cluster: a page that needs no other.");
    flags.Add("proto", &text, "Print the Plan message itself, as protobuf text.");
    flags.Add(
        "check", &check,
        absl::StrCat(
            "Calibrate, run steps of --shape (default ", kCheckedShape, ", ", kCheckedLayers,
            " layers) on one and on all cores, or on "
            "--processes, and compare medians with predictions: at most 25 % apart, or it fails."));
    return flags;
  }
};

absl::Status Report(const Invocation& invocation, const PlanFlags& flags) {
  ModelFlags model = flags.model;
  if (model.cluster.empty()) {
    const absl::StatusOr<PlannedModel> planned = flags.shape.Plan(model, invocation.executable);
    if (!planned.ok()) return planned.status();
    model.cluster = planned->plan.cluster().name();
  }
  const bool runner_ups = flags.explain || flags.json || !flags.html.empty();
  const absl::StatusOr<plan::PlanReport> report =
      flags.shape.Report(model, invocation.executable, runner_ups);
  if (!report.ok()) return report.status();
  if (!flags.html.empty()) {
    std::ofstream file(flags.html);
    if (!(file << plan::ReportHtml(*report) << std::flush)) {
      return absl::UnavailableError(absl::StrCat("cannot write '", flags.html, "'"));
    }
  }
  if (flags.json) {
    invocation.out << plan::ReportJson(*report);
  } else if (flags.html.empty() || flags.explain) {
    invocation.out << plan::ReportText(*report, flags.explain) << "planned in "
                   << plan::ReadableSeconds(report->planning_seconds) << "\n";
  }
  return absl::OkStatus();
}

// What is printed has one form; a page may be written beside it.
absl::Status CheckForms(const PlanFlags& flags) {
  const bool page = !flags.html.empty();
  if ((flags.check || flags.text) && (flags.json || page)) {
    return absl::InvalidArgumentError(absl::StrCat(flags.check ? "--check" : "--proto",
                                                   " does not go with ",
                                                   flags.json ? "--json" : "--html"));
  }
  if (flags.check && flags.text) {
    return absl::InvalidArgumentError("--check does not go with --proto");
  }
  return absl::OkStatus();
}

absl::Status Check(const Invocation& invocation, const PlanFlags& flags) {
  if (!flags.model.model.empty() || !flags.model.cluster.empty()) {
    return absl::InvalidArgumentError(
        "--check: calibrates by itself and measures a shape; --model and --cluster do not go with "
        "it");
  }
  absl::StatusOr<ModelOptions> model = flags.model.ToOptions();
  if (!model.ok()) return model.status();
  const CalibrateOptions calibrate = {.isa = model->isa.value_or(kernels::DetectIsa()),
                                      .passes = 3};
  PlanCheckOptions options;
  options.shape = flags.shape.given() ? flags.shape.shape : kCheckedShape;
  options.layers = flags.shape.given() ? flags.shape.layers : kCheckedLayers;
  const absl::StatusOr<std::vector<CheckedStep>> steps = CheckPlan(
      options, [&] { return Calibrate(calibrate); }, *std::move(model));
  if (!steps.ok()) return steps.status();
  if (!PrintCheck(*steps, kTolerance, invocation.out)) {
    return absl::InternalError("predictions are more than 25 % off");
  }
  return absl::OkStatus();
}

}  // namespace

int RunPlan(const Invocation& invocation) {
  PlanFlags flags;
  FlagTable table = flags.Table();
  int exit_status = 0;
  if (!ParseFlags(invocation, &table, 0, &exit_status)) return exit_status;
  absl::Status status = CheckForms(flags);
  if (!status.ok()) return Fail(invocation, "plan", status);
  if (flags.check) {
    status = Check(invocation, flags);
  } else if (!flags.text && (!flags.model.cluster.empty() || flags.json || !flags.html.empty())) {
    status = Report(invocation, flags);
  } else {
    const absl::StatusOr<PlannedModel> planned =
        flags.shape.Plan(flags.model, invocation.executable);
    status = planned.status();
    if (planned.ok()) {
      invocation.out << (flags.text ? planned->plan.DebugString() : plan::Explain(planned->plan));
    }
  }
  return status.ok() ? 0 : Fail(invocation, "plan", status);
}

}  // namespace mneme::cli
