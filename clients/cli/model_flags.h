// The flags of every verb that loads a model.
#ifndef MNEME_CLIENTS_CLI_MODEL_FLAGS_H_
#define MNEME_CLIENTS_CLI_MODEL_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "clients/cli/flags.h"
#include "engine/plan_model.h"

namespace mneme::cli {

struct ModelFlags {
  std::string model;
  std::vector<std::string> ignore_config_key;
  std::string weights = "stored";
  bool huge_pages = false;
  std::string isa = "best";
  std::string kernels = "simd";
  int32_t max_step_tokens = 512;
  int32_t max_sequences = 64;
  int64_t max_model_len = 0;
  int64_t kv_cache_mb = 0;
  int32_t kv_block_tokens = 16;
  int32_t ranks = 0;
  int32_t processes = 0;
  double rank_timeout = 5;
  std::string rank_hosts;
  std::string rank_token_file;
  std::string rank_bind = "127.0.0.1";
  std::string transport = "auto";
  std::vector<std::string> layout;
  std::string table_layout = "free";
  std::string expert_layout = "free";
  std::string prefill_layout = "free";
  std::string cluster;
  int64_t memory_per_rank_mb = 0;

  // model_help: what --model is for this verb.
  void AddTo(FlagTable* flags, const std::string& model_help);
  // The options they stand for; the directory is `model`. INVALID_ARGUMENT names flag and value.
  absl::StatusOr<ModelOptions> ToOptions() const;

 private:
  absl::Status SetProcesses(ModelOptions* options) const;
};

// The secret that ranks of several hosts share, from a file. Errors name the file, or the flag.
absl::StatusOr<std::string> ReadToken(const std::string& path);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_MODEL_FLAGS_H_
