#include "clients/cli/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mneme::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Values {
  bool json = false;
  bool stream = true;
  std::string model;
  int32_t max_tokens = 16;
  std::optional<float> temperature;
  std::optional<int32_t> top_k;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  std::vector<int32_t> ids;

  FlagTable Table() {
    FlagTable table("generate", "[PROMPT]", "Generates text.");
    table.Add("json", &json, "Print JSON.");
    table.Add("stream", &stream, "Print as it comes.");
    table.Add("model", &model, "DIR", "The model.");
    table.Add("max-tokens", &max_tokens, "N", "How many.");
    table.Add("temperature", &temperature, "T", "How random.");
    table.Add("top-k", &top_k, "K", "Of the likeliest.");
    table.Add("seed", &seed, "S", "Seed.");
    table.Add("stop", &stop, "TEXT", "Where to stop.");
    table.Add("ids", &ids, "IDS", "Token ids.");
    return table;
  }
};

TEST(FlagTableTest, ValuesOutsideOfARangeAreRefusedWithIt) {
  int32_t count = 4;
  int64_t bytes = 5;
  double seconds = 1.5;
  const auto parse = [&](const std::string& argument) {
    FlagTable table("serve", "", "");
    table.Add("count", &count, {1, 2047}, "N", "How many.");
    table.Add("bytes", &bytes, {0, int64_t{1} << 40}, "B", "How large.");
    table.Add("seconds", &seconds, {0, 3.5}, "S", "How long.");
    EXPECT_THAT(table.Help(), HasSubstr("How many. From 1 to 2047. Default: "));
    return std::string(table.Parse(std::vector<std::string>{argument}).message());
  };
  EXPECT_EQ(parse("--count=0"), "--count: 0 is not in [1, 2047]");
  EXPECT_EQ(parse("--count=2048"), "--count: 2048 is not in [1, 2047]");
  EXPECT_EQ(parse("--count=-5"), "--count: -5 is not in [1, 2047]");
  EXPECT_EQ(parse("--count=x"), "--count: 'x' is not an integer");
  EXPECT_EQ(parse("--bytes=-1"), "--bytes: -1 is not in [0, 1099511627776]");
  EXPECT_EQ(parse("--seconds=-0.5"), "--seconds: -0.5 is not in [0, 3.5]");
  EXPECT_EQ(count, 4);
  EXPECT_EQ(parse("--count=2047"), "");
  EXPECT_EQ(parse("--bytes=1099511627776"), "");
  EXPECT_EQ(parse("--seconds=3.5"), "");
  EXPECT_EQ(count, 2047);
  EXPECT_EQ(bytes, int64_t{1} << 40);
  EXPECT_EQ(seconds, 3.5);
}

TEST(FlagTableTest, ParsesEveryForm) {
  Values v;
  FlagTable table = v.Table();
  const std::vector<std::string> arguments = {"--json",
                                              "--model=a b",
                                              "first",
                                              "--max-tokens",
                                              "5",
                                              "--temperature",
                                              "0.5",
                                              "--top-k",
                                              "-1",
                                              "--stop",
                                              "a",
                                              "--stop=b",
                                              "--seed",
                                              "18446744073709551615",
                                              "--stream=false",
                                              "--ids",
                                              "1 2,3",
                                              "-",
                                              "--",
                                              "--json"};
  ASSERT_TRUE(table.Parse(arguments).ok());
  EXPECT_TRUE(v.json);
  EXPECT_FALSE(v.stream);
  EXPECT_EQ(v.model, "a b");
  EXPECT_EQ(v.max_tokens, 5);
  EXPECT_EQ(v.temperature, 0.5f);
  EXPECT_EQ(v.top_k, -1);
  EXPECT_EQ(v.seed, 18446744073709551615u);
  EXPECT_THAT(v.stop, ElementsAre("a", "b"));
  EXPECT_THAT(v.ids, ElementsAre(1, 2, 3));
  EXPECT_THAT(table.positionals(), ElementsAre("first", "-", "--json"));
  EXPECT_TRUE(table.given("model"));
}

TEST(FlagTableTest, AbsentFlagsKeepTheirDefaults) {
  Values v;
  FlagTable table = v.Table();
  ASSERT_TRUE(table.Parse({}).ok());
  EXPECT_EQ(v.max_tokens, 16);
  EXPECT_FALSE(v.temperature.has_value());
  EXPECT_FALSE(table.given("max-tokens"));
}

std::string ErrorOf(std::vector<std::string> arguments) {
  Values v;
  FlagTable table = v.Table();
  return std::string(table.Parse(arguments).message());
}

TEST(FlagTableTest, ErrorsNameTheFlagAndTheValue) {
  EXPECT_EQ(ErrorOf({"--max-tokens", "many"}), "--max-tokens: 'many' is not an integer");
  EXPECT_EQ(ErrorOf({"--max-tokens", "1.5"}), "--max-tokens: '1.5' is not an integer");
  EXPECT_EQ(ErrorOf({"--max-tokens", ""}), "--max-tokens: '' is not an integer");
  EXPECT_EQ(ErrorOf({"--max-tokens=4294967296"}), "--max-tokens: '4294967296' is out of range");
  EXPECT_EQ(ErrorOf({"--seed", "-1"}), "--seed: '-1' is not an integer");
  EXPECT_EQ(ErrorOf({"--temperature", "nan"}), "--temperature: 'nan' is not a finite number");
  EXPECT_EQ(ErrorOf({"--json=maybe"}), "--json: 'maybe' is neither true nor false");
  EXPECT_EQ(ErrorOf({"--ids", "1 x"}), "--ids: 'x' is not an integer");
  EXPECT_EQ(ErrorOf({"--model"}), "--model needs a value (DIR)");
}

TEST(FlagTableTest, UnknownFlagsAreRefusedWithTheNearestName) {
  EXPECT_EQ(ErrorOf({"--max-token", "5"}),
            "unknown flag --max-token of `mneme generate`; did you mean --max-tokens?");
  EXPECT_EQ(ErrorOf({"--temp=1"}),
            "unknown flag --temp of `mneme generate`; did you mean --temperature?");
  EXPECT_EQ(ErrorOf({"--xyzzy"}),
            "unknown flag --xyzzy of `mneme generate`; `mneme generate --help` lists them");
}

TEST(FlagTableTest, HelpListsEveryFlagWithItsDefault) {
  Values v;
  FlagTable table = v.Table();
  ASSERT_TRUE(table.Parse(std::vector<std::string>{"--help", "--nonsense"}).ok());
  EXPECT_TRUE(table.help_requested());
  const std::string help = table.Help();
  EXPECT_THAT(help, HasSubstr("usage: mneme generate [FLAGS] [PROMPT]\n"));
  EXPECT_THAT(help, HasSubstr("  --max-tokens N              How many. Default: 16.\n"));
  EXPECT_THAT(help, HasSubstr("  --stop TEXT                 Where to stop. May be repeated.\n"));
  EXPECT_THAT(help, HasSubstr("  --stream                    Print as it comes. Default: true.\n"));
}

TEST(NearestWordTest, RefusesFarWords) {
  const std::vector<std::string> words = {"serve", "generate", "eval"};
  EXPECT_EQ(NearestWord("sevre", words), "serve");
  EXPECT_EQ(NearestWord("gen", words), "generate");
  EXPECT_EQ(NearestWord("transmogrify", words), std::nullopt);
  EXPECT_EQ(NearestWord("", words), std::nullopt);
  EXPECT_EQ(NearestWord(std::string(100000, 'a'), words), std::nullopt);
}

}  // namespace
}  // namespace mneme::cli
