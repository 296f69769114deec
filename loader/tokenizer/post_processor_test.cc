#include "loader/tokenizer/post_processor.h"

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {
namespace {

constexpr char kTokens[] = R"("special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]},
    "two":{"id":"two","ids":[5,6],"tokens":["x","y"]}})";
constexpr char kText[] = R"({"Sequence":{"id":"A","type_id":0}})";
constexpr char kBos[] = R"({"SpecialToken":{"id":"<s>","type_id":0}})";
constexpr char kTwo[] = R"({"SpecialToken":{"id":"two","type_id":0}})";

std::string Template(const std::string& single) {
  return R"({"type":"TemplateProcessing","single":[)" + single + "],\"pair\":[]," + kTokens + "}";
}

std::string ErrorOf(const std::string& json) {
  const auto built = PostProcessor::Build(ParsedJson(json).field());
  return built.ok() ? "" : std::string(MessageOf(built.status()));
}

using Ids = std::vector<int32_t>;

TEST(PostProcessorTest, Templates) {
  const auto none = PostProcessor::Build(ParsedJson("null").field());
  EXPECT_EQ(none->before(), Ids{});
  const auto both = PostProcessor::Build(
      ParsedJson(R"({"type":"Sequence","processors":[
          {"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true},)" +
                 Template(std::string(kBos) + "," + kText + "," + kTwo + "," + kBos) + "]}")
          .field());
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ(both->before(), (Ids{1}));
  EXPECT_EQ(both->behind(), (Ids{5, 6, 1}));
}

TEST(PostProcessorTest, PartsAreLimited) {
  const auto repeated = [](const std::string& part, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += "," + part;
    return all;
  };
  EXPECT_EQ(ErrorOf(Template(kText + repeated(kBos, 1023))), "");
  EXPECT_EQ(ErrorOf(Template(kText + repeated(kBos, 1024))),
            "t.json: single: 1025 pieces; at most 1024 are supported");
  // "two" stands for two ids.
  EXPECT_NE(ErrorOf(Template(kText + repeated(kTwo, 513)))
                .find("special_tokens[\"two\"].ids[0]: 1025 ids on one side of the text; at most"),
            std::string::npos);
  std::string tokens;
  for (int i = 0; i < 1025; ++i) tokens += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":{}";
  EXPECT_EQ(ErrorOf(R"({"type":"TemplateProcessing","pair":[],"special_tokens":{)" + tokens +
                    R"(},"single":[)" + kText + "]}"),
            "t.json: special_tokens: 1025 special tokens; at most 1024 are supported");
}

TEST(PostProcessorTest, RefusesByName) {
  for (const std::string name : {"BertProcessing", "RobertaProcessing"}) {
    EXPECT_EQ(ErrorOf("{\"type\":\"" + name + "\"}"),
              "t.json: the post-processor \"" + name +
                  "\" is not supported; supported: TemplateProcessing, ByteLevel, Sequence");
  }
  EXPECT_NE(ErrorOf(Template(kBos)).find("the text itself"), std::string::npos);
  EXPECT_NE(ErrorOf(Template(std::string(kText) + "," + kText)).find("again"), std::string::npos);
  EXPECT_NE(ErrorOf(Template(R"({"Sequence":{"id":"B","type_id":0}})")).find("\"B\""),
            std::string::npos);
  EXPECT_NE(ErrorOf(Template(R"({"SpecialToken":{"id":"?","type_id":0}})"))
                .find("special_tokens has no \"?\""),
            std::string::npos);
  EXPECT_NE(ErrorOf(Template("{}")).find("expected one of"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Sequence","processors":[)" + Template(kText) + "," +
                    Template(kText) + "]}")
                .find("a second TemplateProcessing"),
            std::string::npos);
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
