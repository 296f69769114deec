#include "loader/tokenizer/decoder.h"

#include <chrono>
#include <optional>
#include <random>

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"
#include "loader/text/text.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {
namespace {

constexpr char kLlama[] = R"({"type":"Sequence","decoders":[
    {"type":"Replace","pattern":{"String":"_"},"content":" "},{"type":"ByteFallback"},
    {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})";

class TestDecoder {
 public:
  TestDecoder(const std::string& json, std::vector<std::string> tokens)
      : tokens_(std::move(tokens)) {
    auto built = Decoder::Build(ParsedJson(json).field());
    EXPECT_TRUE(built.ok()) << built.status();
    decoder_ = *std::move(built);
    SearchBudget budget;
    const absl::Status status = decoder_.Index(
        static_cast<int32_t>(tokens_.size()),
        [this](int32_t id) { return std::string_view(tokens_[id]); }, &budget);
    EXPECT_TRUE(status.ok()) << status;
  }
  std::string Whole(const std::vector<int32_t>& ids) const { return decoder_.Decode(ids); }
  std::vector<std::string> Stream(const std::vector<int32_t>& ids) const {
    DecoderState state;
    std::vector<std::string> pieces;
    for (const int32_t id : ids) decoder_.Append(id, &state, &pieces.emplace_back());
    decoder_.Flush(&state, &pieces.emplace_back());
    return pieces;
  }

 private:
  std::vector<std::string> tokens_;
  Decoder decoder_;
};

std::string ErrorOf(const std::string& json) {
  const auto built = Decoder::Build(ParsedJson(json).field());
  return built.ok() ? "" : std::string(MessageOf(built.status()));
}

using Strings = std::vector<std::string>;

TEST(DecoderTest, WithoutOneTokensAreJoinedWithSpaces) {
  const TestDecoder decoder("null", {"a", "b"});
  EXPECT_EQ(decoder.Whole({0, 1, 1}), "a b b");
  EXPECT_EQ(decoder.Stream({0, 1}), (Strings{"a", " b", ""}));
}

TEST(DecoderTest, ByteLevelSendsACharacterWithTheTokenThatCompletesIt) {
  // U+20AC is E2 82 AC; the alphabet spells these bytes â, Ĥ, ¬.
  const TestDecoder decoder(
      R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})",
      {"â", "Ĥ", "¬", "a", "Ġb"});
  EXPECT_EQ(decoder.Stream({3, 0, 1, 2, 4}), (Strings{"a", "", "", "€", " b", ""}));
  EXPECT_EQ(decoder.Stream({0, 1, 3}), (Strings{"", "",
                                                "\xEF\xBF\xBD"
                                                "a",
                                                ""}));
  EXPECT_EQ(decoder.Stream({0, 0, 1}), (Strings{"", "\xEF\xBF\xBD", "", "\xEF\xBF\xBD"}));
  EXPECT_EQ(decoder.Whole({1, 0, 1}), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(DecoderTest, ByteFallbackReplacesIllFormedRunsAsAWhole) {
  const TestDecoder decoder(kLlama, {"_a", "<0xC3>", "<0xA9>", "<0x41>", "<0xFF>", "<0x20>"});
  EXPECT_EQ(decoder.Whole({0, 1, 2, 0}), "aé a");
  EXPECT_EQ(decoder.Stream({0, 1, 2, 0}), (Strings{"a", "", "é", " a", ""}));
  EXPECT_EQ(decoder.Whole({0, 3, 4}), "a\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(decoder.Stream({4, 3, 0}), (Strings{"\xEF\xBF\xBD", "\xEF\xBF\xBD", " a", ""}));
  // What Strip took comes back when the run is ill-formed.
  EXPECT_EQ(decoder.Whole({5, 1}), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(decoder.Stream({5, 1}), (Strings{"", "", "\xEF\xBF\xBD\xEF\xBF\xBD"}));
}

TEST(DecoderTest, StripTakesCharactersOffBothEndsOfTheText) {
  const TestDecoder decoder(R"({"type":"Sequence","decoders":[{"type":"Fuse"},
      {"type":"Strip","content":" ","start":1,"stop":2}]})",
                            {" ", "a", "b "});
  EXPECT_EQ(decoder.Whole({0, 0, 1, 0, 2, 0, 0}), " a b ");
  EXPECT_EQ(decoder.Stream({0, 0, 1, 0, 2, 0, 0}), (Strings{"", "", " a", "", " b", "", " ", ""}));
  EXPECT_EQ(decoder.Whole({0, 0}), "");
}

TEST(DecoderTest, EditsOfSingleTokens) {
  const TestDecoder strip(R"({"type":"Strip","content":"_","start":1,"stop":1})",
                          {"__a__", "_", "__"});
  EXPECT_EQ(strip.Whole({0, 1, 2}), "_a_");
  const TestDecoder replace(R"({"type":"Replace","pattern":{"Regex":"a+"},"content":"x"})",
                            {"aab", "a"});
  EXPECT_EQ(replace.Whole({0, 1}), "xbx");
  const TestDecoder metaspace(R"({"type":"Metaspace","replacement":"_"})", {"_a_b", "_"});
  EXPECT_EQ(metaspace.Whole({0, 0}), "ab a b");
  EXPECT_EQ(metaspace.Whole({1, 0}), " a b");
  const TestDecoder never(R"({"type":"Metaspace","replacement":"_","prepend_scheme":"never"})",
                          {"_a"});
  EXPECT_EQ(never.Whole({0, 0}), " a a");
}

TEST(DecoderTest, BytesOfATokenAreReadAsTheLibraryDoes) {
  const TestDecoder decoder(R"({"type":"ByteFallback"})",
                            {"<0x41>", "<0x4a>", "<0x+5>", "<0x4G>", "<0x041>", "<0x4>"});
  EXPECT_EQ(decoder.Whole({0, 1, 2, 3, 4, 5}), "AJ\x05<0x4G><0x041><0x4>");
}

// Random tokens of bytes: what is sent is always well-formed and joins to the whole.
TEST(DecoderTest, AnyBytesStreamToTheWholeDecode) {
  Strings tokens;
  for (int byte = 0; byte < 256; ++byte) {
    std::string token;
    const char bytes[] = {static_cast<char>(byte)};
    token.append(bytes, 1);
    tokens.push_back(token);
  }
  // The alphabet's characters of all 256 bytes, in the order of the bytes.
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool self = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const int c = self ? byte : next++;
    tokens[byte] = c < 0x80 ? std::string(1, static_cast<char>(c))
                            : std::string{static_cast<char>(0xC0 | c >> 6),
                                          static_cast<char>(0x80 | (c & 0x3F))};
  }
  const TestDecoder decoder(
      R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})",
      tokens);
  constexpr uint8_t kInteresting[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0,
                                      0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5};
  std::mt19937 random(5);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<int32_t> ids;
    for (int i = static_cast<int>(random() % 8); i >= 0; --i) {
      ids.push_back(kInteresting[random() % std::size(kInteresting)]);
    }
    std::string joined;
    for (const std::string& piece : decoder.Stream(ids)) {
      ASSERT_EQ(FirstInvalidUtf8(piece), -1);
      joined += piece;
    }
    ASSERT_EQ(joined, decoder.Whole(ids));
  }
}

TEST(DecoderTest, RefusesByName) {
  for (const std::string name : {"BPEDecoder", "WordPiece", "CTC"}) {
    EXPECT_NE(ErrorOf("{\"type\":\"" + name + "\"}").find("the decoder \"" + name + "\" is not"),
              std::string::npos);
  }
  const auto sequence = [](const std::string& decoders) {
    return ErrorOf(R"({"type":"Sequence","decoders":[)" + decoders + "]}");
  };
  const std::string fuse = R"({"type":"Fuse"})", bytes = R"({"type":"ByteFallback"})",
                    strip = R"({"type":"Strip","content":" ","start":1,"stop":0})",
                    replace = R"({"type":"Replace","pattern":{"String":"a"},"content":"b"})";
  EXPECT_EQ(sequence(fuse + "," + fuse + "," + strip), "");
  EXPECT_NE(sequence(fuse + "," + replace).find("decoders[1]: the decoder Replace at this place"),
            std::string::npos);
  EXPECT_NE(sequence(bytes + "," + strip).find("the decoder Strip at this place"),
            std::string::npos);
  EXPECT_NE(sequence(fuse + "," + bytes).find("the decoder ByteFallback at this place"),
            std::string::npos);
  EXPECT_NE(sequence(fuse + "," + strip + "," + strip).find("at this place"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Strip","content":" ","start":-1,"stop":0})").find("start"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"Fuse","x":1})").find("unknown member \"x\""), std::string::npos);
}

constexpr char kStrip[] = R"({"type":"Strip","content":" ","start":1,"stop":0})";

TEST(DecoderTest, HasAtMost64Steps) {
  const auto steps = [](int outer) {
    std::string inner, json;
    for (int i = 0; i < 32; ++i) inner += std::string(i > 0 ? "," : "") + kStrip;
    for (int i = 0; i < outer; ++i) json += std::string(",") + kStrip;
    return R"({"type":"Sequence","decoders":[{"type":"Sequence","decoders":[)" + inner + "]}" +
           json + "]}";
  };
  EXPECT_EQ(ErrorOf(steps(32)), "");
  EXPECT_EQ(ErrorOf(steps(33)), "t.json: decoders[33]: step 65; at most 64 are supported");
}

TEST(DecoderTest, OneBudgetIsForAllTokens) {
  auto decoder = Decoder::Build(ParsedJson(kStrip).field());
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  SearchBudget spent(std::chrono::seconds(-1));
  const absl::Status status = decoder->Index(
      1, [](int32_t) { return std::string_view("the token"); }, &spent);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(MessageOf(status).find("take too long (at \"the token\")"), std::string_view::npos);
}

// A vocabulary may have a hole of four million ids.
TEST(DecoderTest, UnknownIdsAreNotEdited) {
  auto decoder = Decoder::Build(ParsedJson(kStrip).field());
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  SearchBudget spent(std::chrono::seconds(-1));
  EXPECT_TRUE(decoder
                  ->Index(
                      9, [](int32_t) { return std::nullopt; }, &spent)
                  .ok());
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
