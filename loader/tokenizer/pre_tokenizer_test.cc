#include "loader/tokenizer/pre_tokenizer.h"

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {
namespace {

using Strings = std::vector<std::string>;

Strings PiecesOf(const std::string& json, std::string_view text, size_t leading = 1) {
  const auto pre_tokenizer = PreTokenizer::Build(ParsedJson(json).field());
  EXPECT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status();
  Pieces pieces;
  SearchBudget budget;
  const absl::Status status = pre_tokenizer->Run(text, leading, &budget, &pieces);
  EXPECT_TRUE(status.ok()) << status;
  Strings strings;
  for (const Span& span : pieces.spans) strings.emplace_back(pieces.Piece(span));
  return strings;
}

std::string ErrorOf(const std::string& json) {
  const auto pre_tokenizer = PreTokenizer::Build(ParsedJson(json).field());
  return pre_tokenizer.ok() ? "" : std::string(MessageOf(pre_tokenizer.status()));
}

TEST(PreTokenizerTest, WithoutOneASectionIsOnePiece) {
  EXPECT_EQ(PiecesOf("null", "a b"), (Strings{"a b"}));
  EXPECT_EQ(PiecesOf("null", ""), Strings{});
}

TEST(PreTokenizerTest, ByteLevel) {
  const std::string plain = R"({"type":"ByteLevel","trim_offsets":true,"add_prefix_space":)";
  EXPECT_EQ(PiecesOf(plain + "false}", "a b\n"), (Strings{"a", "Ġb", "Ċ"}));
  EXPECT_EQ(PiecesOf(plain + "true}", "a b"), (Strings{"Ġa", "Ġb"}));
  EXPECT_EQ(PiecesOf(plain + "true}", " a"), (Strings{"Ġa"}));
  EXPECT_EQ(PiecesOf(plain + R"(false,"use_regex":false})", "a b"), (Strings{"aĠb"}));
}

TEST(PreTokenizerTest, StepsWorkOnThePiecesOfTheOneBefore) {
  const std::string sequence = R"({"type":"Sequence","pretokenizers":[
      {"type":"Split","pattern":{"Regex":"\\n"},"behavior":"Isolated","invert":false},
      {"type":"Split","pattern":{"Regex":"b$"},"behavior":"Isolated","invert":false},
      {"type":"Digits","individual_digits":true},
      {"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":false}]})";
  EXPECT_EQ(PiecesOf(sequence, "ab\n12b"), (Strings{"Ġa", "Ġb", "ĠĊ", "Ġ1", "Ġ2", "Ġb"}));
}

TEST(PreTokenizerTest, Digits) {
  EXPECT_EQ(PiecesOf(R"({"type":"Digits","individual_digits":true})", "a12b"),
            (Strings{"a", "1", "2", "b"}));
  EXPECT_EQ(PiecesOf(R"({"type":"Digits","individual_digits":false})", "a12b"),
            (Strings{"a", "12", "b"}));
}

TEST(PreTokenizerTest, Metaspace) {
  const std::string meta = R"({"type":"Metaspace","replacement":"_")";
  EXPECT_EQ(PiecesOf(meta + "}", "a b"), (Strings{"_a", "_b"}));
  EXPECT_EQ(PiecesOf(meta + R"(,"split":false})", " a b"), (Strings{"_a_b"}));
  EXPECT_EQ(PiecesOf(meta + "}", "_a"), (Strings{"_a"}));
  EXPECT_EQ(PiecesOf(meta + R"(,"prepend_scheme":"first"})", "a b", 1), (Strings{"_a", "_b"}));
  EXPECT_EQ(PiecesOf(meta + R"(,"prepend_scheme":"first"})", "a b", 0), (Strings{"a", "_b"}));
  EXPECT_EQ(PiecesOf(meta + R"(,"prepend_scheme":"never"})", "a b"), (Strings{"a", "_b"}));
  EXPECT_EQ(PiecesOf(meta + R"(,"prepend_scheme":"always"})", "a", 0), (Strings{"_a"}));
}

TEST(PreTokenizerTest, MetaspaceFirstMeansTheInputsStart) {
  const auto sequence = [](const std::string& behavior) {
    return R"({"type":"Sequence","pretokenizers":[
        {"type":"Split","pattern":{"String":"-"},"behavior":")" +
           behavior + R"(","invert":false},
        {"type":"Metaspace","replacement":"_","prepend_scheme":"first"}]})";
  };
  EXPECT_EQ(PiecesOf(sequence("Removed"), "a-b"), (Strings{"_a", "b"}));
  EXPECT_EQ(PiecesOf(sequence("Removed"), "-a-b"), (Strings{"a", "b"}));
  EXPECT_EQ(PiecesOf(sequence("Removed"), "-"), Strings{});
}

// As `tokenizers` 0.23.3: every piece that comes from the input's first character is one that
// leads.
TEST(PreTokenizerTest, MetaspaceFirstPrefixesAllThatComesFromTheStart) {
  const auto behind = [](const std::string& step) {
    return R"({"type":"Sequence","pretokenizers":[)" + step +
           R"(,{"type":"Metaspace","replacement":"_","prepend_scheme":"first","split":false}]})";
  };
  const std::string characters =
      R"({"type":"Split","pattern":{"Regex":"."},"behavior":"Isolated","invert":false})";
  EXPECT_EQ(PiecesOf(behind(characters), "xyz", 2), (Strings{"_x", "_y", "z"}));
  EXPECT_EQ(PiecesOf(behind(characters), "xyz", 0), (Strings{"x", "y", "z"}));
  EXPECT_EQ(PiecesOf(behind(characters), "_ y", 3), (Strings{"_", "_", "_y"}));
  const std::string removed =
      R"({"type":"Split","pattern":{"String":"-"},"behavior":"Removed","invert":false})";
  EXPECT_EQ(PiecesOf(behind(removed), "-a-b", 2), (Strings{"_a", "b"}));
  // What a step before it put in front is from there, too, and one that grows keeps its end.
  const std::string always =
      R"({"type":"Metaspace","replacement":"=","prepend_scheme":"always","split":false})";
  EXPECT_EQ(PiecesOf(behind(always + "," + characters), "ab", 1), (Strings{"_=", "_a", "b"}));
  EXPECT_EQ(PiecesOf(behind(always + "," + characters), "ab", 0), (Strings{"=", "a", "b"}));
  const std::string bytes = R"({"type":"ByteLevel","trim_offsets":true,"add_prefix_space":true,
      "use_regex":false})";
  EXPECT_EQ(PiecesOf(behind(bytes + "," + characters), "\xC3\xA9x", 2),
            (Strings{"_\xC4\xA0", "_\xC3\x83", "_\xC2\xA9", "x"}));
}

TEST(PreTokenizerTest, HasAtMost64Steps) {
  const auto steps = [](int outer) {
    const std::string digits = R"({"type":"Digits","individual_digits":true})";
    std::string inner, json;
    for (int i = 0; i < 32; ++i) inner += (i > 0 ? "," : "") + digits;
    for (int i = 0; i < outer; ++i) json += "," + digits;
    return R"({"type":"Sequence","pretokenizers":[{"type":"Sequence","pretokenizers":[)" + inner +
           "]}" + json + "]}";
  };
  EXPECT_EQ(ErrorOf(steps(32)), "");
  EXPECT_EQ(ErrorOf(steps(33)), "t.json: pretokenizers[33]: step 65; at most 64 are supported");
}

TEST(PreTokenizerTest, RefusesByName) {
  for (const std::string name : {"Whitespace", "WhitespaceSplit", "Punctuation", "BertPreTokenizer",
                                 "CharDelimiterSplit", "UnicodeScripts", "FixedLength"}) {
    EXPECT_EQ(ErrorOf("{\"type\":\"" + name + "\"}"),
              "t.json: the pre-tokenizer \"" + name +
                  "\" is not supported; supported: ByteLevel, Split, Digits, Metaspace, Sequence");
  }
  EXPECT_NE(ErrorOf(R"({"type":"ByteLevel"})").find("add_prefix_space: expected true or false"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Metaspace","replacement":"ab"})").find("one character"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Metaspace","replacement":"_","prepend_scheme":"often"})")
                .find("expected always, first or never, found \"often\""),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Metaspace","replacement":"_","add_prefix_space":false})")
                .find("contradicts"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Split","pattern":{"String":"a"},"behavior":"Lost","invert":false})")
                .find("behavior: expected Removed"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Sequence","pretokenizers":{}})").find("expected an array"),
            std::string::npos);
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
