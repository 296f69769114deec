#include "loader/families/eos_token_ids.h"

#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

ConfigFields With(ConfigValue value) {
  return {"c.json", "", {{"eos_token_id", std::move(value)}}};
}

ConfigValue List(size_t count) {
  ConfigValue list{.kind = ConfigValue::Kind::kList, .text = {}};
  for (size_t i = 0; i < count; ++i) {
    list.items.push_back({.kind = ConfigValue::Kind::kScalar, .text = std::to_string(i)});
  }
  return list;
}

TEST(EosTokenIdsTest, OneOrAList) {
  ConfigFields one = With({.kind = ConfigValue::Kind::kScalar, .text = "7"});
  EXPECT_THAT(ReadEosTokenIds(0, one), ElementsAre(7));
  ConfigFields list = With(List(3));
  EXPECT_THAT(ReadEosTokenIds(0, list), ElementsAre(0, 1, 2));
  ConfigFields absent("c.json", "", {});
  EXPECT_THAT(ReadEosTokenIds(0, absent), IsEmpty());
  ConfigFields null = With({.kind = ConfigValue::Kind::kNull, .text = {}});
  EXPECT_THAT(ReadEosTokenIds(0, null), IsEmpty());
  EXPECT_TRUE(null.status().ok());
}

TEST(EosTokenIdsTest, NoMoreThanTheMost) {
  ConfigFields most = With(List(kMaxEosTokenIds));
  EXPECT_EQ(ReadEosTokenIds(0, most).size(), static_cast<size_t>(kMaxEosTokenIds));
  ConfigFields more = With(List(kMaxEosTokenIds + 1));
  EXPECT_THAT(ReadEosTokenIds(0, more), IsEmpty());
  EXPECT_EQ(more.status().message(), "c.json: eos_token_id: 65 ids, at most 64 are read");
}

TEST(EosTokenIdsTest, NoneBelowTheLeast) {
  ConfigFields fields = With({.kind = ConfigValue::Kind::kScalar, .text = "-2"});
  EXPECT_THAT(ReadEosTokenIds(-1, fields), IsEmpty());
  EXPECT_EQ(fields.status().message(), "c.json: eos_token_id: -2 is not in [-1, 2147483647]");
}

}  // namespace
}  // namespace mneme::loader
