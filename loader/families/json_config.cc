#include "loader/families/json_config.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "loader/json/json_document.h"

namespace mneme::loader {
namespace {

using Kind = ConfigValue::Kind;

ConfigValue ValueOf(const JsonValue& json) {
  ConfigValue value;
  switch (json.kind()) {
    case JsonKind::kNull:
      return value;
    case JsonKind::kBool:
      value.kind = Kind::kScalar;
      value.text = json.boolean() ? "true" : "false";
      return value;
    case JsonKind::kInteger:
      value.kind = Kind::kScalar;
      value.text = absl::StrCat(json.integer());
      return value;
    case JsonKind::kNumber:
      value.kind = Kind::kScalar;
      value.text = absl::StrFormat("%.17g", json.number());
      return value;
    case JsonKind::kString:
      value.kind = Kind::kText;
      value.text = std::string(json.string());
      return value;
    case JsonKind::kArray:
    case JsonKind::kObject:
      value.kind = Kind::kCollection;
      return value;
  }
  return value;
}

// A list of anything but lists and objects; else a collection, which nobody reads.
ConfigValue ListOf(const JsonValue& json) {
  ConfigValue list;
  list.kind = Kind::kList;
  for (JsonValue item = json.first(); item.exists(); item = item.next()) {
    list.items.push_back(ValueOf(item));
    if (list.items.back().kind == Kind::kCollection) return list.items.back();
  }
  return list;
}

ConfigSection SectionOf(const JsonValue& object) {
  ConfigSection section;
  for (JsonValue member = object.first(); member.exists(); member = member.next()) {
    section[std::string(member.name())] =
        member.kind() == JsonKind::kArray ? ListOf(member) : ValueOf(member);
  }
  return section;
}

}  // namespace

absl::StatusOr<JsonConfig> ReadJsonConfig(std::string_view text, const std::string& file) {
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(text, file);
  if (!document.ok()) return document.status();
  const JsonValue root = document->root();
  if (root.kind() != JsonKind::kObject) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": expected an object, not ", std::string(JsonKindName(root.kind()))));
  }
  JsonConfig config;
  config.values = SectionOf(root);
  for (JsonValue member = root.first(); member.exists(); member = member.next()) {
    if (member.kind() == JsonKind::kObject) {
      config.objects[std::string(member.name())] = SectionOf(member);
    }
  }
  return config;
}

}  // namespace mneme::loader
