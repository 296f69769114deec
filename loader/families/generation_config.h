// generation_config.json, which Hugging Face folders have beside their config: how their publisher
// means texts to be generated. A request's field that is absent takes the value from here.
//
// Keys are those of `transformers` (GenerationConfig). Read are temperature, top_p, top_k, min_p,
// repetition_penalty, max_new_tokens, do_sample and eos_token_id; null is absent. What else would
// change the text is named in one warning; any other key is ignored, for the library writes many.
#ifndef MNEME_LOADER_FAMILIES_GENERATION_CONFIG_H_
#define MNEME_LOADER_FAMILIES_GENERATION_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "loader/model/model_description.h"

namespace mneme::loader {

inline constexpr char kGenerationConfigFile[] = "generation_config.json";

// Ranges are those of a request's fields (proto/mneme/v1/generation.proto).
struct GenerationDefaults {
  std::optional<float> temperature;  // 0 (greedy) where the file says do_sample false
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  // Output tokens per choice, but never more than the context leaves.
  std::optional<int32_t> max_new_tokens;

  bool operator==(const GenerationDefaults&) const = default;
};

// Fills *defaults. The file's eos_token_id, a number or a list, replaces model->eos_token_ids (ids
// that the model has not are left out, with a warning); model->warnings may grow. INVALID_ARGUMENT
// naming file, key and value for what is no JSON object, of the wrong kind, or outside its range.
absl::Status ParseGenerationConfig(std::string_view text, const std::string& file,
                                   ModelDescription* model, GenerationDefaults* defaults);

// The same for DIRECTORY/generation_config.json; nothing if there is none.
absl::Status ReadGenerationConfig(const std::string& directory, ModelDescription* model,
                                  GenerationDefaults* defaults);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_GENERATION_CONFIG_H_
