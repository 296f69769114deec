#include "loader/native/json_members.h"

#include <algorithm>
#include <string_view>

#include "absl/status/statusor.h"

namespace mneme::loader::native_internal {

absl::Status ReadCount(const JsonField& field, int64_t least, int64_t* out) {
  const absl::StatusOr<int64_t> value = field.Integer(kMostCount);
  if (!value.ok()) return value.status();
  if (*value < least) return field.Expected(absl::StrCat("an integer of ", least, " or more"));
  *out = *value;
  return absl::OkStatus();
}

absl::Status ReadText(const JsonField& field, size_t most, std::string* out) {
  const absl::StatusOr<std::string_view> value = field.String();
  if (!value.ok()) return value.status();
  if (value->empty() || value->size() > most) {
    return field.Expected(absl::StrCat("a string of 1 to ", most, " bytes"));
  }
  *out = std::string(*value);
  return absl::OkStatus();
}

absl::Status ReadHex(const JsonField& field, size_t digits, std::string* out) {
  const absl::StatusOr<std::string_view> value = field.String();
  if (!value.ok()) return value.status();
  const bool hex = std::all_of(value->begin(), value->end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  if (!hex || value->size() != digits) {
    return field.Expected(absl::StrCat(digits, " lower-case hexadecimal digits"));
  }
  *out = std::string(*value);
  return absl::OkStatus();
}

absl::Status All(std::initializer_list<std::function<absl::Status()>> reads) {
  for (const auto& read : reads) {
    if (absl::Status status = read(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace mneme::loader::native_internal
