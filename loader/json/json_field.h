// A JSON value together with where it stands, so that every refusal names file, field and value.
#ifndef MNEME_LOADER_JSON_JSON_FIELD_H_
#define MNEME_LOADER_JSON_JSON_FIELD_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/json/json_document.h"

namespace mneme::loader {

class JsonField {
 public:
  // The whole document; `origin` names the file and must outlive the field.
  JsonField(JsonValue value, const std::string* origin) : value_(value), origin_(origin) {}

  const JsonValue& value() const { return value_; }
  const std::string& path() const { return path_; }
  // The member is missing or null.
  bool IsNull() const { return !value_.exists() || value_.kind() == JsonKind::kNull; }

  // INVALID_ARGUMENT "FILE: PATH: message".
  absl::Status Error(std::string_view message) const;
  // The error of a value of the wrong kind.
  absl::Status Expected(std::string_view what) const;
  // "FILE: PATH: FEATURE is not supported", with what is.
  absl::Status Unsupported(std::string_view feature, std::string_view supported) const;

  // A member of an object (which may be missing: see IsNull) or an element of an array. `name` is
  // one of ours; a name that the file made up may be long or unprintable and is for Entry.
  JsonField Member(std::string_view name) const;
  JsonField Entry(std::string_view name) const;
  JsonField Element(JsonValue element, int64_t index) const;

  // The value for a message: a number or a text, or an object's first members.
  std::string Text() const;

  // Refuses what is no object, and an object's members that are not in `names` unless their value
  // is an option's that is off: null, false, 0 or empty.
  absl::Status OnlyMembers(std::initializer_list<std::string_view> names) const;
  // Refuses them whatever their value is: for files of our own, to which no other writer adds.
  absl::Status NoOtherMembers(std::initializer_list<std::string_view> names) const;

  absl::StatusOr<bool> Bool() const;
  absl::StatusOr<bool> BoolOr(bool missing) const;  // null counts as missing
  // An integer of [0, max].
  absl::StatusOr<int64_t> Integer(int64_t max) const;
  absl::StatusOr<std::string_view> String() const;

  // An object's string member "type".
  absl::StatusOr<std::string_view> Type() const;
  // Calls `body` for each element of an array until one fails.
  absl::Status ForEach(const std::function<absl::Status(const JsonField&)>& body) const;

 private:
  absl::Status CheckMembers(std::initializer_list<std::string_view> names, bool off_is_none) const;

  JsonValue value_;
  const std::string* origin_;
  std::string path_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_JSON_JSON_FIELD_H_
