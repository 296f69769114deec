#include "loader/tokenizer/json_field.h"

#include <algorithm>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// The value as a message shows it.
std::string Shown(const JsonValue& value) {
  if (!value.exists()) return "nothing";
  switch (value.kind()) {
    case JsonKind::kBool:
      return value.boolean() ? "true" : "false";
    case JsonKind::kInteger:
      return Message(value.integer());
    case JsonKind::kNumber:
      return Message(value.number());
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
    text += Message(Quote(v.name()), ": ", Shown(v));
  }
  return Message("{", text, "}");
}

absl::Status JsonField::Error(std::string_view message) const {
  return absl::InvalidArgumentError(
      Message(*origin_, ": ", path_, path_.empty() ? "" : ": ", message));
}

absl::Status JsonField::Expected(std::string_view what) const {
  return Error(Message("expected ", what, ", found ", Shown(value_)));
}

absl::Status JsonField::Unsupported(std::string_view feature, std::string_view supported) const {
  return Error(Message(feature, " is not supported; supported: ", supported));
}

JsonField JsonField::Member(std::string_view name) const {
  JsonField field = *this;
  field.value_ = value_.Find(name);
  field.path_ += Message(path_.empty() ? "" : ".", name);
  return field;
}

JsonField JsonField::Entry(std::string_view name) const {
  JsonField field = *this;
  field.value_ = value_.Find(name);
  field.path_ += Message("[", Quote(name), "]");
  return field;
}

JsonField JsonField::Element(JsonValue element, int64_t index) const {
  JsonField field = *this;
  field.value_ = element;
  field.path_ += Message("[", index, "]");
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
      return Error(Message("unknown member ", Quote(v.name()), " = ", Shown(v)));
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
    return Expected(Message("an integer from 0 to ", max));
  }
  return value_.integer();
}

absl::StatusOr<std::string_view> JsonField::String() const {
  if (!value_.exists() || value_.kind() != JsonKind::kString) return Expected("a string");
  return value_.string();
}

absl::StatusOr<char32_t> JsonField::Character() const {
  if (!value_.exists() || value_.kind() != JsonKind::kString || value_.string().empty()) {
    return Expected("a string of one character");
  }
  const Utf8Char c = DecodeUtf8(value_.string());
  if (c.size != value_.string().size()) return Expected("a string of one character");
  return c.code_point;
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

}  // namespace mneme::loader::tokenizer_internal
