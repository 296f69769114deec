// Members of the JSON files of a native folder, read with their bounds. Errors are those of
// JsonField: they name file, member and value.
#ifndef MNEME_LOADER_NATIVE_JSON_MEMBERS_H_
#define MNEME_LOADER_NATIVE_JSON_MEMBERS_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "loader/json/json_field.h"

namespace mneme::loader::native_internal {

// Of bytes, rows and elements: no sum of a few overflows.
inline constexpr int64_t kMostCount = int64_t{1} << 56;
// Of names that are no files'.
inline constexpr size_t kMostKeyBytes = 1024;
// Of source files, copies and ignored keys; the largest published models have some hundred files.
inline constexpr int64_t kMostListed = 65'536;

// An integer from `least` to kMostCount.
absl::Status ReadCount(const JsonField& field, int64_t least, int64_t* out);

// A string of 1 to `most` bytes.
absl::Status ReadText(const JsonField& field, size_t most, std::string* out);

// Exactly so many lower-case hexadecimal digits.
absl::Status ReadHex(const JsonField& field, size_t digits, std::string* out);

// The value of `all` that `name` gives this text for.
template <class T>
absl::Status ReadName(const JsonField& field, std::initializer_list<T> all, const char* (*name)(T),
                      T* out) {
  const absl::StatusOr<std::string_view> value = field.String();
  if (!value.ok()) return value.status();
  std::string names;
  for (const T candidate : all) {
    if (*value == name(candidate)) {
      *out = candidate;
      return absl::OkStatus();
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", name(candidate));
  }
  return field.Expected(absl::StrCat("one of ", names));
}

// Each element of an array of at most `most` through `read` into `out`.
template <class T>
absl::Status ReadList(const JsonField& field, int64_t most,
                      const std::function<absl::Status(const JsonField&, T*)>& read,
                      std::vector<T>* out) {
  return field.ForEach([&](const JsonField& element) {
    if (static_cast<int64_t>(out->size()) == most) {
      return field.Error(absl::StrCat("more than ", most, " elements"));
    }
    out->emplace_back();
    return read(element, &out->back());
  });
}

// The first error of several reads, in their order.
absl::Status All(std::initializer_list<std::function<absl::Status()>> reads);

}  // namespace mneme::loader::native_internal

#endif  // MNEME_LOADER_NATIVE_JSON_MEMBERS_H_
