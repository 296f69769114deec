// The flags of every verb that loads a model.
#ifndef MNEME_CLIENTS_CLI_MODEL_FLAGS_H_
#define MNEME_CLIENTS_CLI_MODEL_FLAGS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "clients/cli/flags.h"
#include "engine/plan_model.h"

namespace mneme::cli {

struct ModelFlags {
  std::string model;
  std::string weights = "stored";
  std::string isa = "best";
  std::string kernels = "simd";
  int32_t max_step_tokens = 512;
  int32_t max_sequences = 64;
  int64_t max_model_len = 0;
  int64_t kv_cache_mb = 0;
  int32_t kv_block_tokens = 16;
  int32_t ranks = 0;
  std::string cluster;

  // model_help: what --model is for this verb.
  void AddTo(FlagTable* flags, const std::string& model_help);
  // The options they stand for; the directory is `model`. INVALID_ARGUMENT names flag and value.
  absl::StatusOr<ModelOptions> ToOptions() const;
};

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_MODEL_FLAGS_H_
