#include "tests/e2e/served_model.h"

#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::testing {

ServingOptions ServedModel::Options(const std::string& directory) {
  ServingOptions options;
  options.model_directory = directory;
  options.max_sequences = 16;
  return options;
}

ServedModel::ServedModel(const ServingOptions& serving, server::ServerOptions server) {
  status_ = Start(serving, std::move(server));
}

absl::Status ServedModel::Start(const ServingOptions& serving, server::ServerOptions server) {
  server.listen = "127.0.0.1:0";
  auto local = cli::LocalServer::Start(serving, std::move(server));
  if (!local.ok()) return local.status();
  local_ = *std::move(local);
  auto client = client::Client::Connect({.address = local_->server().address()});
  if (!client.ok()) return client.status();
  client_ = *std::move(client);
  kv_blocks_free_at_start_ = local_->serving().engine().stats().kv_blocks_free;
  return absl::OkStatus();
}

absl::Status ServedModel::WaitUntilWhole() {
  EngineStats stats;
  for (int i = 0; i < 1000; ++i) {
    stats = serving().engine().stats();
    if (stats.requests_running == 0 && stats.requests_waiting == 0 &&
        stats.kv_blocks_free == kv_blocks_free_at_start_ && server().active_requests() == 0) {
      return absl::OkStatus();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return absl::InternalError(absl::StrCat(stats.requests_running, " running, ",
                                          stats.requests_waiting, " waiting, ",
                                          stats.kv_blocks_free, " of ", kv_blocks_free_at_start_,
                                          " blocks free, ", server().active_requests(), " calls"));
}

v1::GenerateRequest TextRequest(const std::string& text, int32_t max_tokens) {
  v1::GenerateRequest request;
  request.set_text(text);
  request.mutable_stopping()->set_max_tokens(max_tokens);
  return request;
}

v1::GenerateRequest IdsRequest(const std::vector<int32_t>& ids, int32_t max_tokens) {
  v1::GenerateRequest request;
  request.mutable_token_ids()->mutable_ids()->Assign(ids.begin(), ids.end());
  request.mutable_stopping()->set_max_tokens(max_tokens);
  return request;
}

v1::GenerateRequest Greedy(v1::GenerateRequest request) {
  request.mutable_sampling()->set_temperature(0);
  request.mutable_sampling()->set_repetition_penalty(1);
  request.mutable_stopping()->set_ignore_eos(true);
  return request;
}

}  // namespace mneme::testing
