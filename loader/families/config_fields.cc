#include "loader/families/config_fields.h"

#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "loader/text/text.h"

namespace mneme::loader {
ConfigFields::ConfigFields(std::string file, std::string section, ConfigSection values)
    : file_(std::move(file)), section_(std::move(section)), values_(std::move(values)) {}

void ConfigFields::Refuse(const std::string& name, const std::string& why) {
  if (status_.ok()) RefuseInstead(name, why);
}

void ConfigFields::RefuseInstead(const std::string& name, const std::string& why) {
  const auto it = values_.find(name);
  const bool line_known = it != values_.end() && it->second.line > 0;
  const std::string where = line_known ? absl::StrCat(" (line ", it->second.line, ")") : "";
  const std::string shown = FirstInvalidUtf8(name) < 0 && name.size() <= 100 ? name : Quote(name);
  status_ = absl::InvalidArgumentError(
      absl::StrCat(file_, ": ", section_, section_.empty() ? "" : ".", shown, where, ": ", why));
}

const ConfigValue* ConfigFields::Scalar(const std::string& name, bool* null) {
  read_.insert(name);
  const auto it = values_.find(name);
  *null = false;
  if (it == values_.end()) return nullptr;
  if (it->second.kind == ConfigValue::Kind::kNull) {
    *null = true;
    return nullptr;
  }
  if (it->second.kind == ConfigValue::Kind::kCollection ||
      it->second.kind == ConfigValue::Kind::kList) {
    Refuse(name, "expected one value, not a collection");
    return nullptr;
  }
  return &it->second;
}

const ConfigValue* ConfigFields::Required(const std::string& name) {
  bool null = false;
  const ConfigValue* value = Scalar(name, &null);
  if (null) Refuse(name, "is null");
  return value;
}

int64_t ConfigFields::ParseInt(const std::string& name, const ConfigValue& value, Range range) {
  int64_t number = 0;
  if (value.kind != ConfigValue::Kind::kScalar || !absl::SimpleAtoi(value.text, &number)) {
    const bool null = value.kind == ConfigValue::Kind::kNull;
    Refuse(name, absl::StrCat("expected a whole number, not ", null ? "null" : Quote(value.text)));
    return range.min;
  }
  if (number < range.min || number > range.max) {
    Refuse(name, absl::StrCat(number, " is not in [", range.min, ", ", range.max, "]"));
    return range.min;
  }
  return number;
}

bool ConfigFields::ParseBool(const std::string& name, const ConfigValue& value) {
  if (value.kind != ConfigValue::Kind::kScalar) {
    Refuse(name, absl::StrCat("expected true or false, not the text ", Quote(value.text)));
    return false;
  }
  // What YAML 1.1, which the trainer's parser reads, takes for a truth value.
  for (const char* text : {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"}) {
    if (value.text == text) return true;
  }
  for (const char* text : {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"}) {
    if (value.text == text) return false;
  }
  Refuse(name, absl::StrCat("expected true or false, not ", Quote(value.text)));
  return false;
}

std::optional<double> ConfigFields::ParseNumber(const std::string& name, const ConfigValue& value) {
  double number = 0;
  if (value.kind == ConfigValue::Kind::kScalar && absl::SimpleAtod(value.text, &number) &&
      std::isfinite(number)) {
    return number;
  }
  Refuse(name, absl::StrCat("expected a number, not ", Quote(value.text)));
  return std::nullopt;
}

double ConfigFields::ParsePositive(const std::string& name, const ConfigValue& value, double max) {
  const std::optional<double> number = ParseNumber(name, value);
  if (!number.has_value()) return max;
  if (*number <= 0 || *number > max) {
    Refuse(name, absl::StrCat(value.text.substr(0, 40), " is not in (0, ", max, "]"));
    return max;
  }
  return *number;
}

int64_t ConfigFields::Int(const std::string& name, int64_t absent, Range range) {
  const ConfigValue* value = Required(name);
  return value == nullptr ? absent : ParseInt(name, *value, range);
}

bool ConfigFields::Bool(const std::string& name, bool absent) {
  const ConfigValue* value = Required(name);
  return value == nullptr ? absent : ParseBool(name, *value);
}

double ConfigFields::Positive(const std::string& name, double absent, double max) {
  const ConfigValue* value = Required(name);
  return value == nullptr ? absent : ParsePositive(name, *value, max);
}

std::string ConfigFields::Text(const std::string& name, const std::string& absent) {
  const ConfigValue* value = Required(name);
  return value == nullptr ? absent : value->text;
}

std::string ConfigFields::Choice(const std::string& name, const std::string& absent,
                                 std::initializer_list<const char*> choices) {
  const std::string text = Text(name, absent);
  for (const char* choice : choices) {
    if (text == choice) return text;
  }
  Refuse(name,
         absl::StrCat(Quote(text), " is not served; served are: ", absl::StrJoin(choices, ", ")));
  return absent;
}

std::optional<int64_t> ConfigFields::OptionalInt(const std::string& name, Range range) {
  bool null = false;
  const ConfigValue* value = Scalar(name, &null);
  if (value == nullptr) return std::nullopt;
  return ParseInt(name, *value, range);
}

std::optional<bool> ConfigFields::OptionalBool(const std::string& name) {
  bool null = false;
  const ConfigValue* value = Scalar(name, &null);
  if (value == nullptr) return std::nullopt;
  return ParseBool(name, *value);
}

std::optional<double> ConfigFields::OptionalPositive(const std::string& name, double max) {
  bool null = false;
  const ConfigValue* value = Scalar(name, &null);
  if (value == nullptr) return std::nullopt;
  return ParsePositive(name, *value, max);
}

std::optional<double> ConfigFields::OptionalNonNegative(const std::string& name, double max) {
  bool null = false;
  const ConfigValue* value = Scalar(name, &null);
  if (value == nullptr) return std::nullopt;
  const std::optional<double> number = ParseNumber(name, *value);
  if (number.has_value() && (*number < 0 || *number > max)) {
    Refuse(name, absl::StrCat(value->text.substr(0, 40), " is not in [0, ", max, "]"));
    return std::nullopt;
  }
  return number;
}

const std::vector<ConfigValue>& ConfigFields::List(const std::string& name) {
  static const std::vector<ConfigValue>* const kNone = new std::vector<ConfigValue>;
  read_.insert(name);
  const auto it = values_.find(name);
  if (it == values_.end() || it->second.kind == ConfigValue::Kind::kNull) return *kNone;
  if (it->second.kind == ConfigValue::Kind::kList) return it->second.items;
  Refuse(name, "expected a list");
  return *kNone;
}

std::vector<int64_t> ConfigFields::IntList(const std::string& name, Range range) {
  std::vector<int64_t> values;
  for (const ConfigValue& item : List(name)) values.push_back(ParseInt(name, item, range));
  return values;
}

std::vector<int64_t> ConfigFields::IntOrList(const std::string& name, Range range) {
  const auto it = values_.find(name);
  if (it != values_.end() && it->second.kind == ConfigValue::Kind::kList) {
    return IntList(name, range);
  }
  const std::optional<int64_t> one = OptionalInt(name, range);
  return one.has_value() ? std::vector<int64_t>{*one} : std::vector<int64_t>{};
}

std::vector<std::string> ConfigFields::TextList(const std::string& name) {
  std::vector<std::string> values;
  for (const ConfigValue& item : List(name)) {
    if (item.kind != ConfigValue::Kind::kText) Refuse(name, "expected a list of texts");
    values.push_back(item.text);
  }
  return values;
}

bool ConfigFields::is_null(const std::string& name) const {
  const auto it = values_.find(name);
  return it != values_.end() && it->second.kind == ConfigValue::Kind::kNull;
}

std::set<std::string> ConfigFields::Unread() const {
  std::set<std::string> unread;
  for (const auto& [name, value] : values_) {
    if (!read_.contains(name) && !ignored_.contains(name)) unread.insert(name);
  }
  return unread;
}

void ConfigFields::RefuseUnread(const std::set<std::string>& ignored, const std::string& prefix) {
  std::vector<std::string> unknown;
  for (const std::string& key : Unread()) {
    if (!ignored.contains(prefix + key)) unknown.push_back(key);
  }
  if (!unknown.empty()) {
    std::string why = absl::StrCat("unknown key; if it changes nothing, --ignore-config-key ",
                                   prefix, Quote(unknown[0]), " accepts it");
    if (unknown.size() > 1) {
      absl::StrAppend(&why, "; unknown as well: ", QuoteFew(std::span(unknown).subspan(1)));
    }
    RefuseInstead(unknown[0], why);
  }
  for (const std::string& name : ignored) {
    if (!name.starts_with(prefix)) continue;
    const std::string key = name.substr(prefix.size());
    if (has(key) && read_.contains(key)) {
      Refuse(key, "--ignore-config-key: this key is read, it cannot be ignored");
    }
  }
}

}  // namespace mneme::loader
