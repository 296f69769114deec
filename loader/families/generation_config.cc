#include "loader/families/generation_config.h"

#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "loader/families/config_fields.h"
#include "loader/families/eos_token_ids.h"
#include "loader/families/json_config.h"
#include "loader/files/mapped_file.h"

namespace mneme::loader {
namespace {

using Kind = ConfigValue::Kind;

// Published ones have a few hundred bytes.
constexpr int64_t kMaxFileBytes = int64_t{1} << 20;
constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();
constexpr double kMaxFloat = std::numeric_limits<float>::max();

// Keys that change the text, are not served, and are numbers; `off` changes nothing.
struct NumberKey {
  const char* name;
  double off;
};
constexpr NumberKey kNumbers[] = {
    {"num_beams", 1},
    {"num_beam_groups", 1},
    {"penalty_alpha", 0},
    {"typical_p", 1},
    {"epsilon_cutoff", 0},
    {"eta_cutoff", 0},
    {"no_repeat_ngram_size", 0},
    {"encoder_no_repeat_ngram_size", 0},
    {"encoder_repetition_penalty", 1},
    {"guidance_scale", 1},
    {"min_new_tokens", 0},
    {"min_length", 0},
};
// Of these beam search alone takes notice.
constexpr NumberKey kNumbersOfBeams[] = {{"length_penalty", 1}, {"diversity_penalty", 0}};
// The same of any kind; off when false or an empty list.
constexpr const char* kOthers[] = {
    "bad_words_ids",
    "begin_suppress_tokens",
    "constraints",
    "dola_layers",
    "exponential_decay_length_penalty",
    "force_words_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "max_time",
    "sequence_bias",
    "stop_strings",
    "suppress_tokens",
    "top_h",
    "watermarking_config",
};

// What a file sets and we do not do.
class Unserved {
 public:
  explicit Unserved(const ConfigSection& values) : values_(values) {}

  void AddNumber(const NumberKey& key) {
    if (const std::optional<double> number = Number(key.name);
        number.has_value() && *number != key.off) {
      named_.push_back(absl::StrCat(key.name, " ", *number));
    }
  }
  void AddOther(const char* name) {
    const auto found = values_.find(name);
    if (found == values_.end() || found->second.kind == Kind::kNull) return;
    const ConfigValue& value = found->second;
    if (value.kind == Kind::kList ? value.items.empty() : value.text == "false") return;
    named_.emplace_back(name);
  }
  // A number of this key, unless it is absent or something else.
  std::optional<double> Number(const char* name) const {
    const auto found = values_.find(name);
    double number = 0;
    if (found == values_.end() || found->second.kind != Kind::kScalar ||
        !absl::SimpleAtod(found->second.text, &number)) {
      return std::nullopt;
    }
    return number;
  }
  const std::vector<std::string>& named() const { return named_; }

 private:
  const ConfigSection& values_;
  std::vector<std::string> named_;
};

void WarnOfUnserved(const ConfigSection& values, bool has_max_new_tokens, ModelDescription* model) {
  Unserved unserved(values);
  for (const NumberKey& key : kNumbers) unserved.AddNumber(key);
  if (unserved.Number("num_beams").value_or(1) > 1) {
    for (const NumberKey& key : kNumbersOfBeams) unserved.AddNumber(key);
    unserved.AddOther("early_stopping");
  }
  for (const char* name : kOthers) unserved.AddOther(name);
  // Tokens of prompt and output together; max_new_tokens wins over it.
  const double context = static_cast<double>(model->max_sequence_length);
  if (!has_max_new_tokens && unserved.Number("max_length").value_or(context) < context) {
    unserved.AddNumber({"max_length", 0});
  }
  if (unserved.named().empty()) return;
  model->warnings.push_back(absl::StrCat(
      kGenerationConfigFile, " sets what is not served: ", absl::StrJoin(unserved.named(), ", "),
      "; texts are generated without."));
}

// In (0, max], also as a float.
std::optional<float> PositiveFloat(const char* name, double max, ConfigFields& fields) {
  const std::optional<double> value = fields.OptionalPositive(name, max);
  if (!value.has_value()) return std::nullopt;
  const float rounded = static_cast<float>(*value);
  if (rounded == 0) fields.Refuse(name, absl::StrCat(*value, " is too small for a float"));
  return rounded;
}

// In [0, max].
std::optional<float> NonNegativeFloat(const char* name, double max, ConfigFields& fields) {
  const std::optional<double> value = fields.OptionalNonNegative(name, max);
  if (!value.has_value()) return std::nullopt;
  return static_cast<float>(*value);
}

std::optional<int32_t> Int32(const char* name, int64_t min, ConfigFields& fields) {
  const std::optional<int64_t> value = fields.OptionalInt(name, {min, kMaxInt});
  if (!value.has_value()) return std::nullopt;
  return static_cast<int32_t>(*value);
}

void ReadEos(ConfigFields& fields, ModelDescription* model) {
  if (!fields.has("eos_token_id") || fields.is_null("eos_token_id")) return;
  const std::vector<int64_t> ids = ReadEosTokenIds(std::numeric_limits<int32_t>::min(), fields);
  if (!fields.status().ok()) return;
  model->eos_token_ids.clear();
  std::vector<int64_t> ignored;
  for (const int64_t id : ids) {
    if (id >= 0 && id < model->vocab_size) {
      model->eos_token_ids.push_back(static_cast<int32_t>(id));
    } else {
      ignored.push_back(id);
    }
  }
  if (ignored.empty()) return;
  model->warnings.push_back(absl::StrCat(kGenerationConfigFile, "'s eos_token_id ",
                                         absl::StrJoin(ignored, ", "), " is not in [0, ",
                                         model->vocab_size, ") and is ignored."));
}

}  // namespace

absl::Status ParseGenerationConfig(std::string_view text, const std::string& file,
                                   ModelDescription* model, GenerationDefaults* defaults) {
  const absl::StatusOr<JsonConfig> config = ReadJsonConfig(text, file);
  if (!config.ok()) return config.status();
  ConfigFields fields(file, "", config->values);
  GenerationDefaults read;
  read.temperature = NonNegativeFloat("temperature", kMaxFloat, fields);
  read.top_p = PositiveFloat("top_p", 1, fields);
  read.top_k = Int32("top_k", -1, fields);
  read.min_p = NonNegativeFloat("min_p", 1, fields);
  read.repetition_penalty = PositiveFloat("repetition_penalty", kMaxFloat, fields);
  read.max_new_tokens = Int32("max_new_tokens", 1, fields);
  // The library looks at the temperature only where it samples.
  if (!fields.OptionalBool("do_sample").value_or(true)) read.temperature = 0;
  ReadEos(fields, model);
  if (!fields.status().ok()) return fields.status();
  WarnOfUnserved(config->values, read.max_new_tokens.has_value(), model);
  *defaults = read;
  return absl::OkStatus();
}

absl::Status ReadGenerationConfig(const std::string& directory, ModelDescription* model,
                                  GenerationDefaults* defaults) {
  const std::string path = absl::StrCat(directory, "/", kGenerationConfigFile);
  if (!FileExists(path)) return absl::OkStatus();
  const absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxFileBytes);
  if (!text.ok()) return text.status();
  return ParseGenerationConfig(*text, path, model, defaults);
}

}  // namespace mneme::loader
