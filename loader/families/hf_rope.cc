#include "loader/families/hf_rope.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>

#include "absl/strings/str_cat.h"
#include "kernels/rope/rope.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

constexpr double kMostTheta = 1e30;
constexpr double kMostFactor = 1e9;
constexpr int64_t kMostPositions = int64_t{1} << 30;

// What the scalings read, beside theta.
struct Settings {
  double theta = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  int64_t original_positions = 0;
};

std::vector<float> Base(const Settings& settings) {
  return kernels::RopeFrequencies(static_cast<float>(settings.theta), settings.head_dim);
}

double RequiredFactor(const std::string& name, ConfigFields& fields) {
  const std::optional<double> factor = fields.OptionalPositive(name, kMostFactor);
  if (!factor.has_value()) fields.Refuse(name, "is missing; this type of scaling needs it");
  return factor.value_or(1.0);
}

void Linear(const Settings& settings, ConfigFields& fields, RopeDescription* rope) {
  const double factor = RequiredFactor("factor", fields);
  rope->frequencies = Base(settings);
  for (float& f : rope->frequencies) f = static_cast<float>(f / factor);
}

void Llama3(const Settings& settings, ConfigFields& fields, RopeDescription* rope) {
  const double factor = RequiredFactor("factor", fields);
  const double low = RequiredFactor("low_freq_factor", fields);
  const double high = RequiredFactor("high_freq_factor", fields);
  const auto original = static_cast<double>(settings.original_positions);
  rope->frequencies = Base(settings);
  for (float& f : rope->frequencies) {
    const double wavelength = 2 * std::numbers::pi / f;
    if (wavelength > original / low) {
      f = static_cast<float>(f / factor);
    } else if (wavelength >= original / high && high > low) {
      const double share = (original / wavelength - low) / (high - low);
      f = static_cast<float>(f * ((1 - share) / factor + share));
    }
  }
}

// mscale and mscale_all_dim of yarn.
double YarnScale(double mscale, double factor) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double YarnAttentionFactor(double factor, ConfigFields& fields) {
  const std::optional<double> given = fields.OptionalPositive("attention_factor", kMostFactor);
  const double scale = fields.OptionalNonNegative("mscale", kMostFactor).value_or(0);
  const double all = fields.OptionalNonNegative("mscale_all_dim", kMostFactor).value_or(0);
  if (given.has_value()) return *given;
  if (scale > 0 && all > 0) return YarnScale(scale, factor) / YarnScale(all, factor);
  return YarnScale(1.0, factor);
}

void Yarn(const Settings& settings, ConfigFields& fields, RopeDescription* rope) {
  const double original = static_cast<double>(settings.original_positions);
  const auto dim = static_cast<double>(settings.head_dim);
  if (!fields.has("factor")) fields.Refuse("factor", "is missing; this type of scaling needs it");
  const double factor = fields.OptionalPositive("factor", kMostFactor)
                            .value_or(static_cast<double>(settings.max_positions) / original);
  const auto beta = [&](const char* name, double absent) {
    const double value = fields.OptionalNonNegative(name, kMostFactor).value_or(0);
    return value == 0 ? absent : value;
  };
  // The pair of frequencies that turns n times within the original context.
  const auto pair_of = [&](double turns) {
    return dim * std::log(original / (2 * std::numbers::pi * turns)) /
           (2 * std::log(settings.theta));
  };
  double low = pair_of(beta("beta_fast", 32));
  double high = pair_of(beta("beta_slow", 1));
  if (fields.OptionalBool("truncate").value_or(true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  rope->scale = static_cast<float>(YarnAttentionFactor(factor, fields));
  rope->frequencies = Base(settings);
  for (size_t i = 0; i < rope->frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double f = rope->frequencies[i];
    rope->frequencies[i] = static_cast<float>(f * (1 - ramp) + f / factor * ramp);
  }
}

// The object that the settings stand in; empty: there is none.
std::string ObjectName(const JsonConfig& config) {
  const auto stated = [&](const std::string& name) {
    const auto it = config.values.find(name);
    return it != config.values.end() && it->second.kind != ConfigValue::Kind::kNull;
  };
  for (const std::string name : {"rope_scaling", "rope_parameters"}) {
    const auto object = config.objects.find(name);
    if (stated(name) && (object == config.objects.end() || !object->second.empty())) return name;
  }
  return "";
}

void RefusePartial(ConfigFields& fields) {
  const double part = fields.Positive("partial_rotary_factor", 1.0, 1.0);
  if (part != 1.0) {
    fields.Refuse("partial_rotary_factor", absl::StrCat(part, " is not served, only 1"));
  }
}

std::string TypeOf(ConfigFields& fields) {
  const std::string name = fields.has("rope_type") ? "rope_type" : "type";
  fields.Ignore("type");
  const std::string type = fields.Text(name, "default");
  if (type == "dynamic") {
    fields.Refuse(name,
                  "\"dynamic\" is not served: its frequencies depend on how long the sequences "
                  "before were, so there is no one output");
  } else if (type != "default" && type != "linear" && type != "llama3" && type != "yarn") {
    fields.Refuse(name, absl::StrCat(Quote(type),
                                     " is not served; served are: default, linear, llama3, yarn"));
  }
  return type;
}

}  // namespace

absl::Status ReadHfRope(const std::string& file, const JsonConfig& config, double theta,
                        const std::set<std::string>& ignored, ConfigFields& top,
                        ModelDescription* model) {
  Settings settings;
  settings.head_dim = model->attention.head_dim;
  settings.max_positions = model->max_sequence_length;
  const double top_theta = top.Positive("rope_theta", theta, kMostTheta);
  if (top_theta < 1) top.Refuse("rope_theta", absl::StrCat(top_theta, " is less than 1"));
  const std::optional<int64_t> top_original =
      top.OptionalInt("original_max_position_embeddings", {1, kMostPositions});
  RefusePartial(top);
  top.MarkRead("rope_scaling");
  top.MarkRead("rope_parameters");
  RopeDescription& rope = model->attention.rope;
  rope.theta = static_cast<float>(top_theta);
  const std::string name = ObjectName(config);
  if (name.empty()) return absl::OkStatus();
  if (!config.objects.contains(name)) {
    top.Refuse(name, "expected an object");
    return absl::OkStatus();
  }

  ConfigFields fields(file, name, config.objects.at(name));
  const std::string type = TypeOf(fields);
  settings.theta = fields.OptionalPositive("rope_theta", kMostTheta).value_or(top_theta);
  const std::optional<int64_t> inner_original =
      fields.OptionalInt("original_max_position_embeddings", {1, kMostPositions});
  settings.original_positions =
      top_original.value_or(inner_original.value_or(settings.max_positions));
  RefusePartial(fields);
  rope.theta = static_cast<float>(settings.theta);
  if (settings.theta < 1 || (settings.theta == 1 && type == "yarn")) {
    fields.Refuse("rope_theta", absl::StrCat(settings.theta, " is not more than 1"));
  }
  if (!fields.status().ok()) return fields.status();
  if (type == "linear") Linear(settings, fields, &rope);
  if (type == "llama3") Llama3(settings, fields, &rope);
  if (type == "yarn") Yarn(settings, fields, &rope);
  for (const float frequency : rope.frequencies) {
    if (!std::isfinite(frequency)) fields.Refuse("factor", "makes infinite frequencies");
  }
  if (!std::isfinite(rope.scale) || rope.scale <= 0) {
    fields.Refuse("attention_factor", absl::StrCat(rope.scale, " is no positive float32"));
  }
  // Keys of the other types change nothing.
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor", "attention_factor",
                          "mscale", "mscale_all_dim", "beta_fast", "beta_slow", "truncate"}) {
    fields.Ignore(key);
  }
  fields.RefuseUnread(ignored, name + ".");
  return fields.status();
}

}  // namespace mneme::loader
