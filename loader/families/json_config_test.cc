#include "loader/families/json_config.h"

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using Kind = ConfigValue::Kind;

TEST(JsonConfigTest, KeepsKindsAndObjects) {
  const auto config = ReadJsonConfig(
      R"({"i":-3,"f":1e-05,"b":true,"s":"x","n":null,"l":[1,"a",null],"ll":[[1]],"o":{"k":8.5}})",
      "c.json");
  ASSERT_TRUE(config.ok()) << config.status();
  const ConfigSection& values = config->values;
  EXPECT_EQ(values.at("i").kind, Kind::kScalar);
  EXPECT_EQ(values.at("i").text, "-3");
  EXPECT_EQ(std::stod(values.at("f").text), 1e-05);
  EXPECT_EQ(values.at("b").text, "true");
  EXPECT_EQ(values.at("s").kind, Kind::kText);
  EXPECT_EQ(values.at("s").text, "x");
  EXPECT_EQ(values.at("n").kind, Kind::kNull);
  ASSERT_EQ(values.at("l").kind, Kind::kList);
  ASSERT_EQ(values.at("l").items.size(), 3u);
  EXPECT_EQ(values.at("l").items[1].kind, Kind::kText);
  EXPECT_EQ(values.at("ll").kind, Kind::kCollection);
  EXPECT_EQ(values.at("o").kind, Kind::kCollection);
  EXPECT_EQ(config->objects.at("o").at("k").text, "8.5");
}

TEST(JsonConfigTest, RefusesWhatIsNoObject) {
  EXPECT_EQ(std::string(ReadJsonConfig("[]", "c.json").status().message()),
            "c.json: expected an object, not an array");
  EXPECT_FALSE(ReadJsonConfig("{", "c.json").ok());
}

}  // namespace
}  // namespace mneme::loader
