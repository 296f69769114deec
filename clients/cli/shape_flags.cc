#include "clients/cli/shape_flags.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/local_server.h"
#include "loader/families/shapes.h"

namespace mneme::cli {

void ShapeFlags::AddTo(FlagTable* flags) {
  flags->Add("shape", &shape, "NAME",
             absl::StrCat("In place of a checkpoint, a published size in bf16: ",
                          absl::StrJoin(loader::ShapeNames(), ", "), "."));
  flags->Add("layers", &layers, {0, 1 << 10}, "N", "The first N layers of the shape; 0: all.");
}

absl::StatusOr<ModelOptions> ShapeFlags::Options(const ModelFlags& model,
                                                 const std::string& executable) const {
  if (given() && !model.model.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape: '", shape, "' and --model: '", model.model, "' exclude each other"));
  }
  if (!given() && layers > 0) {
    return absl::InvalidArgumentError(absl::StrCat("--layers: ", layers, " goes with --shape"));
  }
  if (given() && model.weights == "f32") {
    return absl::InvalidArgumentError("--weights: a shape's are bf16");
  }
  ModelFlags flags = model;
  if (!given()) {
    absl::StatusOr<std::string> directory = ModelOrDemo(model, executable);
    if (!directory.ok()) return directory.status();
    flags.model = *std::move(directory);
  }
  return flags.ToOptions();
}

absl::StatusOr<PlannedModel> ShapeFlags::Plan(const ModelFlags& model,
                                              const std::string& executable) const {
  const absl::StatusOr<ModelOptions> options = Options(model, executable);
  if (!options.ok()) return options.status();
  return given() ? PlanShape(shape, layers, *options) : PlanModel(*options);
}

absl::StatusOr<plan::PlanReport> ShapeFlags::Report(const ModelFlags& model,
                                                    const std::string& executable,
                                                    bool runner_ups) const {
  const absl::StatusOr<ModelOptions> options = Options(model, executable);
  if (!options.ok()) return options.status();
  return given() ? ReportShape(shape, layers, *options, runner_ups)
                 : ReportModel(*options, runner_ups);
}

}  // namespace mneme::cli
