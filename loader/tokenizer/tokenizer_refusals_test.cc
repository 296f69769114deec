// What a tokenizer.json may not say, each with the message that a user gets; and what published
// files say that must not matter.
#include <string>

#include "gtest/gtest.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/tokenizer.h"

namespace mneme::loader {
namespace {

using tokenizer_internal::MessageOf;

constexpr char kModel[] = R"("model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})";

std::string ErrorOf(const std::string& json) {
  const auto tokenizer = Tokenizer::Parse(json, "t.json");
  EXPECT_TRUE(tokenizer.ok() || tokenizer.status().code() == absl::StatusCode::kInvalidArgument);
  return tokenizer.ok() ? "" : std::string(MessageOf(tokenizer.status()));
}

// The refusal of a file that has this beside its model.
std::string ErrorBesideModel(const std::string& members) {
  return ErrorOf("{" + members + "," + kModel + "}");
}

TEST(TokenizerRefusalsTest, ModelsAreNamed) {
  const std::pair<const char*, const char*> kModels[] = {
      {"Unigram", R"("unk_id":0,"vocab":[["<unk>",0.0]],"byte_fallback":false)"},
      {"WordPiece", R"("unk_token":"[UNK]","continuing_subword_prefix":"##","vocab":{"a":0})"},
      {"WordLevel", R"("vocab":{"a":0},"unk_token":"a")"},
      {"BBPE", R"("vocab":{"a":0},"merges":[])"}};
  for (const auto& [type, members] : kModels) {
    EXPECT_EQ(ErrorOf(std::string(R"({"version":"1.0","model":{"type":")") + type + "\"," +
                      members + "}}"),
              std::string("t.json: model.type: the model \"") + type +
                  "\" is not supported; supported: BPE");
  }
  // Files of the first releases have no type; without merges it is no BPE.
  EXPECT_EQ(ErrorOf(R"({"model":{"vocab":[["a",0.0]]}})"),
            "t.json: model.type: expected a string, found nothing");
}

TEST(TokenizerRefusalsTest, TruncationAndPaddingAreNamed) {
  EXPECT_EQ(ErrorBesideModel(R"("truncation":{"direction":"Right","max_length":512,)"
                             R"("strategy":"LongestFirst","stride":0})"),
            "t.json: truncation: {\"direction\": \"Right\", \"max_length\": 512, \"strategy\": "
            "\"LongestFirst\", \"stride\": 0} is not supported; supported: null (every request has "
            "its own limits)");
  EXPECT_EQ(ErrorBesideModel(R"("padding":{"strategy":{"Fixed":128},"pad_id":0})"),
            "t.json: padding: {\"strategy\": an object, \"pad_id\": 0} is not supported; "
            "supported: null (every request has its own limits)");
  EXPECT_EQ(ErrorBesideModel(R"("padding":{})"),
            "t.json: padding: {} is not supported; supported: null (every request has its own "
            "limits)");
}

TEST(TokenizerRefusalsTest, ComponentsAreNamed) {
  const std::string kNormalizers = "NFC, Prepend, Replace, Sequence";
  for (const std::string type : {"NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents",
                                 "BertNormalizer", "Precompiled", "Nmt", "ByteLevel"}) {
    EXPECT_EQ(ErrorBesideModel(R"("normalizer":{"type":")" + type + "\"}"),
              "t.json: normalizer: the normalizer \"" + type +
                  "\" is not supported; supported: " + kNormalizers);
  }
  EXPECT_EQ(
      ErrorBesideModel(
          R"("normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"NFKC"}]})"),
      "t.json: normalizer.normalizers[1]: the normalizer \"NFKC\" is not supported; "
      "supported: " +
          kNormalizers);
  for (const std::string type : {"BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation",
                                 "CharDelimiterSplit", "UnicodeScripts", "FixedLength"}) {
    EXPECT_EQ(ErrorBesideModel(R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[)"
                               R"({"type":"Digits","individual_digits":true},{"type":")" +
                               type + "\"}]}"),
              "t.json: pre_tokenizer.pretokenizers[1]: the pre-tokenizer \"" + type +
                  "\" is not supported; supported: ByteLevel, Split, Digits, Metaspace, Sequence");
  }
  for (const std::string type : {"BertProcessing", "RobertaProcessing"}) {
    EXPECT_EQ(ErrorBesideModel(R"("post_processor":{"type":")" + type +
                               R"(","sep":["</s>",2],"cls":["<s>",0]})"),
              "t.json: post_processor: the post-processor \"" + type +
                  "\" is not supported; supported: TemplateProcessing, ByteLevel, Sequence");
  }
  for (const std::string type : {"WordPiece", "BPEDecoder", "CTC"}) {
    EXPECT_EQ(ErrorBesideModel(R"("decoder":{"type":")" + type + "\"}"),
              "t.json: decoder: the decoder \"" + type +
                  "\" is not supported; supported: ByteLevel, ByteFallback, Fuse, Strip, Replace, "
                  "Metaspace, Sequence");
  }
  EXPECT_EQ(ErrorBesideModel(R"("decoder":{"type":"Sequence","decoders":[{"type":"Fuse"},)"
                             R"({"type":"ByteFallback"}]})"),
            "t.json: decoder.decoders[1]: the decoder ByteFallback at this place is not supported; "
            "supported: Replace, Strip, Metaspace, then ByteLevel or ByteFallback, then Fuse, then "
            "one Strip");
}

TEST(TokenizerRefusalsTest, OptionsThatWouldChangeIdsAreNamed) {
  const auto model = [](const std::string& member) {
    return ErrorOf("{\"model\":{" + member + R"(,"vocab":{"a":0},"merges":[]}})");
  };
  EXPECT_EQ(model(R"("dropout":0.1)"),
            "t.json: model.dropout: a random tokenization is not supported; supported: null and 0");
  EXPECT_EQ(
      model(R"("end_of_word_suffix":"</w>")"),
      "t.json: model.end_of_word_suffix: \"</w>\" is not supported; supported: null and \"\"");
  EXPECT_EQ(model(R"("continuing_subword_prefix":"##")"),
            "t.json: model.continuing_subword_prefix: \"##\" is not supported; supported: null and "
            "\"\"");
  EXPECT_EQ(model(R"("new_option":"x")"), "t.json: model: unknown member \"new_option\" = \"x\"");
  EXPECT_EQ(ErrorBesideModel(R"("version":"2.0")"),
            "t.json: version: version \"2.0\" is not supported; supported: 1.0");
  EXPECT_EQ(ErrorBesideModel(R"("post_normalizer":{"type":"NFC"})"),
            "t.json: unknown member \"post_normalizer\" = an object");
  EXPECT_EQ(ErrorBesideModel(R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,)"
                             R"("trim_offsets":true,"use_regex":true,"split_by":3})"),
            "t.json: pre_tokenizer: unknown member \"split_by\" = 3");
  EXPECT_EQ(ErrorBesideModel(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},)"
                             R"("behavior":"Isolated","invert":false})"),
            "t.json: pre_tokenizer.pattern.Regex: the pattern \"(\" is refused by Oniguruma: end "
            "pattern with unmatched parenthesis");
}

// Members that files of the library's releases have where an option is not used.
TEST(TokenizerRefusalsTest, OptionsThatAreOffLoad) {
  const auto tokenizer = Tokenizer::Parse(
      R"({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 4, "content": "<s>", "single_word": false, "lstrip": false,
                          "rstrip": false, "normalized": false, "special": true, "extra": null}],
        "normalizer": {"type": "Sequence", "normalizers": [], "cleanup": false},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "_", "str_rep": "_",
                          "add_prefix_space": true, "prepend_scheme": "always", "split": null},
        "post_processor": {"type": "TemplateProcessing",
          "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                     {"Sequence": {"id": "A", "type_id": 0}}],
          "pair": [{"Sequence": {"id": "B", "type_id": 1}}],
          "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}},
        "decoder": {"type": "Metaspace", "replacement": "_", "str_rep": "_",
                    "add_prefix_space": true, "options": []},
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
                  "continuing_subword_prefix": "", "end_of_word_suffix": null, "fuse_unk": null,
                  "byte_fallback": null, "ignore_merges": null, "cache": 0, "affix": {},
                  "vocab": {"a": 0, "b": 1, "ab": 2, "_": 3}, "merges": ["#version: 0.2", "a b"]}
      })",
      "t.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("ab a", true), (std::vector<int32_t>{4, 3, 2, 3, 0}));
  EXPECT_EQ((*tokenizer)->Decode(std::vector<int32_t>{4, 3, 2, 3, 0}, true), "ab a");
}

// The oldest files: no version, no type, no switches, and nothing but a model is needed.
TEST(TokenizerRefusalsTest, WhatIsAbsentIsOff) {
  EXPECT_EQ(ErrorOf(R"({"model":{"vocab":{"a":0},"merges":[]}})"), "");
  EXPECT_EQ(ErrorBesideModel(R"("normalizer":null,"pre_tokenizer":null,"post_processor":null,)"
                             R"("decoder":null)"),
            "");
  EXPECT_EQ(ErrorBesideModel(R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,)"
                             R"("trim_offsets":true})"),
            "");
}

}  // namespace
}  // namespace mneme::loader
