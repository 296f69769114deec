// The flags of verbs that take a published size in place of a checkpoint.
#ifndef MNEME_CLIENTS_CLI_SHAPE_FLAGS_H_
#define MNEME_CLIENTS_CLI_SHAPE_FLAGS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "clients/cli/flags.h"
#include "clients/cli/model_flags.h"
#include "engine/plan_model.h"

namespace mneme::cli {

struct ShapeFlags {
  std::string shape;
  int64_t layers = 0;

  void AddTo(FlagTable* flags);
  // The plan of the shape if one is given, else of the model, else of the demo model.
  // INVALID_ARGUMENT when both are given.
  absl::StatusOr<PlannedModel> Plan(const ModelFlags& model, const std::string& executable) const;
  // What a plan of it would do on the cluster of `model`. REQUIRES: model.cluster is not empty.
  absl::StatusOr<plan::PlanReport> Report(const ModelFlags& model, const std::string& executable,
                                          bool runner_ups) const;
  bool given() const { return !shape.empty(); }

 private:
  // The options of a plan; the directory is the demo model's where nothing is given.
  absl::StatusOr<ModelOptions> Options(const ModelFlags& model,
                                       const std::string& executable) const;
};

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_SHAPE_FLAGS_H_
