#include "clients/cli/local_server.h"

#include <utility>

#include "clients/cli/checkpoint_report.h"
#include "clients/cli/demo_model.h"
#include "clients/cli/invocation.h"
#include "engine/plan/explain.h"

namespace mneme::cli {
namespace {

// What absent request fields take, as far as the checkpoint says it.
void DescribeDefaults(const loader::GenerationDefaults& defaults, v1::GetModelReply* model) {
  v1::SamplingParams* sampling = model->mutable_default_sampling();
  if (defaults.temperature) sampling->set_temperature(*defaults.temperature);
  if (defaults.top_p) sampling->set_top_p(*defaults.top_p);
  if (defaults.top_k) sampling->set_top_k(*defaults.top_k);
  if (defaults.min_p) sampling->set_min_p(*defaults.min_p);
  if (defaults.repetition_penalty) {
    sampling->set_repetition_penalty(*defaults.repetition_penalty);
  }
  if (defaults.max_new_tokens) model->set_default_max_tokens(*defaults.max_new_tokens);
}

}  // namespace

v1::GetModelReply DescribeServing(const Serving& serving) {
  const CheckpointReport report = ReportOn(serving.checkpoint());
  v1::GetModelReply model;
  model.set_name(NameOf(serving.checkpoint().directory));
  model.set_parameters(report.parameters);
  int64_t weight_bytes = 0;
  for (const v1::Weight& w : serving.plan().weights()) {
    if (w.shared_with().empty()) weight_bytes += w.bytes();
  }
  model.set_weight_bytes(weight_bytes);
  model.set_device(serving.plan().cluster().device());
  model.set_isa(serving.plan().cluster().isa());
  model.set_plan_hash(plan::PlanHash(serving.plan()));
  model.set_ranks(serving.plan().cluster().ranks());
  model.set_version(kVersion);
  DescribeDefaults(serving.checkpoint().generation, &model);
  return model;
}

absl::StatusOr<std::unique_ptr<LocalServer>> LocalServer::Start(
    const ServingOptions& serving_options, server::ServerOptions server_options) {
  std::unique_ptr<LocalServer> local(new LocalServer());
  absl::StatusOr<std::unique_ptr<Serving>> serving = Serving::Create(serving_options);
  if (!serving.ok()) return serving.status();
  local->serving_ = *std::move(serving);
  server_options.model = DescribeServing(*local->serving_);
  absl::StatusOr<std::unique_ptr<server::Server>> server =
      server::Server::Start(server_options, &local->serving_->engine());
  if (!server.ok()) return server.status();
  local->server_ = *std::move(server);
  return local;
}

absl::StatusOr<std::string> ModelOrDemo(const ModelFlags& model, const std::string& executable) {
  return ResolveModel(model.model, executable);
}

absl::StatusOr<std::unique_ptr<LocalServer>> StartOnFreePort(ModelFlags model,
                                                             const std::string& executable) {
  const absl::StatusOr<std::string> directory = ModelOrDemo(model, executable);
  if (!directory.ok()) return directory.status();
  model.model = *directory;
  const absl::StatusOr<ModelOptions> options = model.ToOptions();
  if (!options.ok()) return options.status();
  ServingOptions serving;
  static_cast<ModelOptions&>(serving) = *options;
  server::ServerOptions server;
  server.listen = "127.0.0.1:0";
  return LocalServer::Start(serving, std::move(server));
}

}  // namespace mneme::cli
