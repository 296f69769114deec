#include "clients/cli/model_flags.h"
#include "clients/cli/shape_flags.h"
#include "clients/cli/verbs.h"
#include "engine/plan/explain.h"

namespace mneme::cli {

int RunPlan(const Invocation& invocation) {
  ModelFlags model_flags;
  ShapeFlags shape_flags;
  bool explain = false;
  bool text = false;
  FlagTable flags(
      "plan", "",
      "Compiles a model's plan without reading its weights and prints it: the operators "
      "in their order, the memory of each rank, the bytes a token costs.");
  model_flags.AddTo(&flags, "The checkpoint. Without it and --shape: the demo model.");
  shape_flags.AddTo(&flags);
  flags.Add("explain", &explain, "Print the plan for a person (also without this flag).");
  flags.Add("proto", &text, "Print the Plan message itself, as protobuf text.");
  int exit_status = 0;
  if (!ParseFlags(invocation, &flags, 0, &exit_status)) return exit_status;
  const absl::StatusOr<PlannedModel> planned = shape_flags.Plan(model_flags, invocation.executable);
  if (!planned.ok()) return Fail(invocation, "plan", planned.status());
  invocation.out << (text ? planned->plan.DebugString() : plan::Explain(planned->plan));
  return 0;
}

}  // namespace mneme::cli
