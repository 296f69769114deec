// Any text is either refused with a message or gives defaults that a request could have.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "loader/families/generation_config.h"
#include "loader/text/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mneme::loader::FirstInvalidUtf8;
  mneme::loader::ModelDescription model;
  model.vocab_size = 100;
  model.max_sequence_length = 64;
  model.eos_token_ids = {1};
  mneme::loader::GenerationDefaults defaults;
  const absl::Status status = mneme::loader::ParseGenerationConfig(
      std::string_view(reinterpret_cast<const char*>(data), size), "fuzz", &model, &defaults);
  if (!status.ok()) {
    const std::string message(status.message());
    if (message.size() > mneme::loader::kMaxMessageBytes || FirstInvalidUtf8(message) >= 0 ||
        defaults != mneme::loader::GenerationDefaults()) {
      __builtin_trap();
    }
    return 0;
  }
  const float temperature = defaults.temperature.value_or(0);
  const float top_p = defaults.top_p.value_or(1);
  const float min_p = defaults.min_p.value_or(0);
  const float penalty = defaults.repetition_penalty.value_or(1);
  const bool possible = temperature >= 0 && std::isfinite(temperature) && top_p > 0 && top_p <= 1 &&
                        min_p >= 0 && min_p <= 1 && penalty > 0 && std::isfinite(penalty) &&
                        defaults.top_k.value_or(0) >= -1 && defaults.max_new_tokens.value_or(1) > 0;
  if (!possible || model.warnings.size() > 2) __builtin_trap();
  for (const int32_t id : model.eos_token_ids) {
    if (id < 0 || id >= model.vocab_size) __builtin_trap();
  }
  for (const std::string& warning : model.warnings) {
    if (warning.size() > 2 * mneme::loader::kMaxMessageBytes || FirstInvalidUtf8(warning) >= 0) {
      __builtin_trap();
    }
  }
  return 0;
}
