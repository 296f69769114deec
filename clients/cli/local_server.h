// A model and its server in this process: `serve`, and the verbs that bring a server of their own.
#ifndef MNEME_CLIENTS_CLI_LOCAL_SERVER_H_
#define MNEME_CLIENTS_CLI_LOCAL_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "clients/cli/model_flags.h"
#include "engine/serving.h"
#include "proto/mneme/v1/generation.pb.h"
#include "server/server.h"

namespace mneme::cli {

class LocalServer {
 public:
  // Loads the model and listens. server_options.model is filled in here.
  static absl::StatusOr<std::unique_ptr<LocalServer>> Start(const ServingOptions& serving_options,
                                                            server::ServerOptions server_options);

  Serving& serving() { return *serving_; }
  server::Server& server() { return *server_; }

 private:
  LocalServer() = default;

  // In this order: the server goes first.
  std::unique_ptr<Serving> serving_;
  std::unique_ptr<server::Server> server_;
};

// On a free loopback port. Without --model: the demo model, found from `executable` (argv[0]).
absl::StatusOr<std::unique_ptr<LocalServer>> StartOnFreePort(ModelFlags model,
                                                             const std::string& executable);

// The folder of model.model: ResolveModel.
absl::StatusOr<std::string> ModelOrDemo(const ModelFlags& model, const std::string& executable);

// What GetModel says of a model being served, apart from what the server knows itself.
v1::GetModelReply DescribeServing(const Serving& serving);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_LOCAL_SERVER_H_
