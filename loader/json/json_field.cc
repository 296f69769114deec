#include "loader/json/json_field.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "loader/text/text.h"

namespace mneme::loader {

namespace {

// The value as a message shows it.
std::string Shown(const JsonValue& value) {
  if (!value.exists()) return "nothing";
  switch (value.kind()) {
    case JsonKind::kBool:
      return value.boolean() ? "true" : "false";
    case JsonKind::kInteger:
      return absl::StrCat(value.integer());
    case JsonKind::kNumber:
      return absl::StrCat(value.number());
    case JsonKind::kString:
      return Quote(value.string());
    default:
      return std::string(JsonKindName(value.kind()));
  }
}

// Of an object a message shows members until there is so much; the last one adds up to 260 bytes.
constexpr size_t kShownBytes = 300;

// What a switch says that is off. A release that adds an option writes it so where it is not used.
bool IsOff(const JsonValue& value) {
  switch (value.kind()) {
    case JsonKind::kNull:
      return true;
    case JsonKind::kBool:
      return !value.boolean();
    case JsonKind::kInteger:
      return value.integer() == 0;
    case JsonKind::kNumber:
      return value.number() == 0;
    case JsonKind::kString:
      return value.string().empty();
    case JsonKind::kArray:
    case JsonKind::kObject:
      return value.count() == 0;
  }
  return false;
}

}  // namespace

std::string JsonField::Text() const {
  if (!value_.exists() || value_.kind() != JsonKind::kObject) return Shown(value_);
  std::string text;
  for (JsonValue v = value_.first(); v.exists(); v = v.next()) {
    if (!text.empty()) text += ", ";
    if (text.size() > kShownBytes) {
      text += "...";
      break;
    }
    text += absl::StrCat(Quote(v.name()), ": ", Shown(v));
  }
  return absl::StrCat("{", text, "}");
}

absl::Status JsonField::Error(std::string_view message) const {
  return absl::InvalidArgumentError(
      absl::StrCat(*origin_, ": ", path_, path_.empty() ? "" : ": ", std::string(message)));
}

absl::Status JsonField::Expected(std::string_view what) const {
  return Error(absl::StrCat("expected ", std::string(what), ", found ", Shown(value_)));
}

absl::Status JsonField::Unsupported(std::string_view feature, std::string_view supported) const {
  return Error(
      absl::StrCat(std::string(feature), " is not supported; supported: ", std::string(supported)));
}

JsonField JsonField::Member(std::string_view name) const {
  JsonField field = *this;
  field.value_ = value_.Find(name);
  field.path_ += absl::StrCat(path_.empty() ? "" : ".", std::string(name));
  return field;
}

JsonField JsonField::Entry(std::string_view name) const {
  JsonField field = *this;
  field.value_ = value_.Find(name);
  field.path_ += absl::StrCat("[", Quote(name), "]");
  return field;
}

JsonField JsonField::Element(JsonValue element, int64_t index) const {
  JsonField field = *this;
  field.value_ = element;
  field.path_ += absl::StrCat("[", index, "]");
  return field;
}

absl::Status JsonField::OnlyMembers(std::initializer_list<std::string_view> names) const {
  return CheckMembers(names, /*off_is_none=*/true);
}

absl::Status JsonField::NoOtherMembers(std::initializer_list<std::string_view> names) const {
  return CheckMembers(names, /*off_is_none=*/false);
}

absl::Status JsonField::CheckMembers(std::initializer_list<std::string_view> names,
                                     bool off_is_none) const {
  if (!value_.exists() || value_.kind() != JsonKind::kObject) return Expected("an object");
  for (JsonValue v = value_.first(); v.exists(); v = v.next()) {
    if (off_is_none && IsOff(v)) continue;
    if (std::find(names.begin(), names.end(), v.name()) == names.end()) {
      return Error(absl::StrCat("unknown member ", Quote(v.name()), " = ", Shown(v)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> JsonField::Bool() const {
  if (!value_.exists() || value_.kind() != JsonKind::kBool) return Expected("true or false");
  return value_.boolean();
}

absl::StatusOr<bool> JsonField::BoolOr(bool missing) const {
  if (IsNull()) return missing;
  return Bool();
}

absl::StatusOr<int64_t> JsonField::Integer(int64_t max) const {
  if (!value_.exists() || value_.kind() != JsonKind::kInteger || value_.integer() < 0 ||
      value_.integer() > max) {
    return Expected(absl::StrCat("an integer from 0 to ", max));
  }
  return value_.integer();
}

absl::StatusOr<std::string_view> JsonField::String() const {
  if (!value_.exists() || value_.kind() != JsonKind::kString) return Expected("a string");
  return value_.string();
}

absl::StatusOr<std::string_view> JsonField::Type() const {
  if (!value_.exists() || value_.kind() != JsonKind::kObject) return Expected("an object");
  return Member("type").String();
}

absl::Status JsonField::ForEach(const std::function<absl::Status(const JsonField&)>& body) const {
  if (!value_.exists() || value_.kind() != JsonKind::kArray) return Expected("an array");
  int64_t index = 0;
  for (JsonValue v = value_.first(); v.exists(); v = v.next()) {
    if (absl::Status status = body(Element(v, index++)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace mneme::loader
