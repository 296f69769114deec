#include "engine/ranks/rank_model.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/plan/plan_of_rank.h"
#include "engine/rank_weights.h"
#include "loader/checkpoint/file_identity.h"
#include "loader/families/shapes.h"

namespace mneme::ranks {
namespace {

absl::Status CheckFiles(const loader::Checkpoint& checkpoint, const v1::RankSetup& setup) {
  const absl::StatusOr<std::vector<loader::FileIdentity>> here = loader::IdentifyFiles(checkpoint);
  if (!here.ok()) return here.status();
  std::vector<loader::FileIdentity> there;
  for (const v1::FileIdentity& file : setup.source().files()) {
    there.push_back({file.name(), file.bytes(), file.header_hash()});
  }
  const std::string difference = loader::FileDifference(*here, there);
  if (difference.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("rank ", setup.rank(), " (here) has another model in ", checkpoint.directory,
                   " than the front (there): ", difference));
}

// The checkpoint of the setup's source, and no plan yet.
absl::StatusOr<PlannedModel> Open(const v1::RankSetup& setup) {
  PlannedModel planned;
  if (const v1::ModelSource& source = setup.source(); !source.shape().empty()) {
    absl::StatusOr<loader::ModelDescription> model =
        loader::DescribeShape(source.shape(), source.layers());
    if (!model.ok()) return model.status();
    planned.checkpoint.model = *std::move(model);
    return planned;
  }
  loader::InspectOptions inspect;
  inspect.ignored_config_keys = {setup.source().ignored_config_keys().begin(),
                                 setup.source().ignored_config_keys().end()};
  absl::StatusOr<loader::Checkpoint> checkpoint =
      loader::InspectCheckpoint(setup.source().directory(), inspect);
  if (!checkpoint.ok()) return checkpoint.status();
  if (absl::Status status = CheckFiles(*checkpoint, setup); !status.ok()) return status;
  planned.checkpoint = *std::move(checkpoint);
  return planned;
}

}  // namespace

absl::StatusOr<v1::ModelSource> SourceOf(const PlannedModel& planned) {
  v1::ModelSource source;
  if (!planned.shape.empty()) {
    source.set_shape(planned.shape);
    source.set_layers(planned.layers);
    return source;
  }
  source.set_directory(planned.checkpoint.directory);
  for (const std::string& key : planned.checkpoint.options.ignored_config_keys) {
    source.add_ignored_config_keys(key);
  }
  const absl::StatusOr<std::vector<loader::FileIdentity>> files =
      loader::IdentifyFiles(planned.checkpoint);
  if (!files.ok()) return files.status();
  for (const loader::FileIdentity& file : *files) {
    v1::FileIdentity* identity = source.add_files();
    identity->set_name(file.name);
    identity->set_bytes(file.bytes);
    identity->set_header_hash(file.hash);
  }
  return source;
}

absl::StatusOr<RankModel> LoadRankModel(const v1::RankSetup& setup) {
  absl::StatusOr<PlannedModel> planned = Open(setup);
  if (!planned.ok()) return planned.status();
  planned->plan = setup.plan();
  loader::ModelDescription& description = planned->checkpoint.model;
  description.max_sequence_length = setup.plan().limits().max_positions();
  ModelOptions options;
  options.round_to_bf16 = setup.round_to_bf16();
  options.widen_to_f32 = setup.widen_to_f32();
  options.huge_pages = setup.huge_pages();
  absl::StatusOr<loader::PackedWeights> weights =
      setup.source().shape().empty() ? PackRank(*planned, options, setup.rank())
                                     : GenerateRank(*planned, setup.source().seed(), setup.rank());
  if (!weights.ok()) return weights.status();
  RankModel model;
  model.weights = *std::move(weights);
  model.embedding_size = static_cast<int32_t>(description.embedding_size);
  const v1::Plan own = plan::PlanOfRank(setup.plan(), setup.rank());
  for (const v1::Weight& w : own.weights()) {
    if (w.shared_with().empty()) model.weight_bytes += w.bytes();
  }
  return model;
}

}  // namespace mneme::ranks
