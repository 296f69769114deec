// A model behind a real server on loopback, and a client of it: what the end-to-end tests talk to.
#ifndef MNEME_TESTS_E2E_SERVED_MODEL_H_
#define MNEME_TESTS_E2E_SERVED_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "clients/cli/local_server.h"
#include "clients/cpp/client.h"

namespace mneme::testing {

inline constexpr char kDemoModel[] = "models/demo/ultramem";

class ServedModel {
 public:
  // status() says whether it can be talked to.
  explicit ServedModel(const std::string& directory) : ServedModel(Options(directory), {}) {}
  ServedModel(const ServingOptions& serving, server::ServerOptions server);

  static ServingOptions Options(const std::string& directory);

  const absl::Status& status() const { return status_; }
  client::Client& client() { return *client_; }
  Serving& serving() { return local_->serving(); }
  server::Server& server() { return local_->server(); }

  // Waits until no request is left and every KV block is free again; else the numbers.
  absl::Status WaitUntilWhole();

 private:
  absl::Status Start(const ServingOptions& serving, server::ServerOptions server);

  absl::Status status_;
  std::unique_ptr<cli::LocalServer> local_;
  std::unique_ptr<client::Client> client_;
  int64_t kv_blocks_free_at_start_ = 0;
};

v1::GenerateRequest TextRequest(const std::string& text, int32_t max_tokens);
v1::GenerateRequest IdsRequest(const std::vector<int32_t>& ids, int32_t max_tokens);
// The likeliest token each time, whatever the model's defaults, and an eos does not end it.
v1::GenerateRequest Greedy(v1::GenerateRequest request);

}  // namespace mneme::testing

#endif  // MNEME_TESTS_E2E_SERVED_MODEL_H_
