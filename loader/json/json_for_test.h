// Fields of JSON from a test's string.
#ifndef MNEME_LOADER_JSON_JSON_FOR_TEST_H_
#define MNEME_LOADER_JSON_JSON_FOR_TEST_H_

#include <string>
#include <string_view>
#include <utility>

#include "gtest/gtest.h"
#include "loader/json/json_document.h"
#include "loader/json/json_field.h"

namespace mneme::loader {

// Owns what a field needs. The JSON must be valid.
class ParsedJson {
 public:
  explicit ParsedJson(std::string_view text) {
    auto document = JsonDocument::Parse(text, origin_);
    EXPECT_TRUE(document.ok()) << document.status();
    if (document.ok()) document_ = *std::move(document);
  }
  JsonField field() const { return JsonField(document_.root(), &origin_); }

 private:
  const std::string origin_ = "t.json";
  JsonDocument document_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_JSON_JSON_FOR_TEST_H_
