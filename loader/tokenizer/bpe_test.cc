#include "loader/tokenizer/bpe.h"

#include <map>
#include <random>

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"
#include "loader/tokenizer/merge_table.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/vocabulary.h"

namespace mneme::loader::tokenizer_internal {
namespace {

std::vector<int32_t> Encoded(const Bpe& bpe, std::string_view piece) {
  Bpe::Scratch scratch;
  std::vector<int32_t> ids;
  const absl::Status status = bpe.Encode(piece, &scratch, &ids);
  EXPECT_TRUE(status.ok()) << status;
  return ids;
}

Bpe Model(const std::string& json) {
  auto bpe = Bpe::Build(ParsedJson(json).field());
  EXPECT_TRUE(bpe.ok()) << bpe.status();
  return *std::move(bpe);
}

std::string ErrorOf(const std::string& json) {
  const auto bpe = Bpe::Build(ParsedJson(json).field());
  return bpe.ok() ? "" : std::string(MessageOf(bpe.status()));
}

TEST(MergeTableTest, FindsWhatWasSet) {
  MergeTable empty;
  EXPECT_EQ(empty.Find(0, 0).rank, Merge::kNoRank);
  MergeTable table(1000);
  for (int i = 0; i < 1000; ++i) {
    table.Set(i % 31, i, {static_cast<uint32_t>(i), i + 7});
  }
  table.Set(3, 3, {9999, 1});
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(table.Find(i % 31, i).rank, i == 3 ? 9999u : static_cast<uint32_t>(i));
    EXPECT_EQ(table.Find(i % 31 + 31, i).rank, Merge::kNoRank);
  }
}

TEST(VocabularyTest, KeepsTokensAndHoles) {
  const ParsedJson json(R"({"a":3,"":0,"bc":1})");
  const auto vocabulary = Vocabulary::Build(json.field());
  ASSERT_TRUE(vocabulary.ok());
  EXPECT_EQ(vocabulary->size(), 3);
  EXPECT_EQ(vocabulary->end_id(), 4);
  EXPECT_EQ(vocabulary->Find("bc"), 1);
  EXPECT_EQ(vocabulary->Find("b"), std::nullopt);
  EXPECT_EQ(vocabulary->Token(3), "a");
  EXPECT_TRUE(vocabulary->Contains(0));
  EXPECT_FALSE(vocabulary->Contains(2));
  EXPECT_FALSE(vocabulary->Contains(-1));
  EXPECT_FALSE(vocabulary->Contains(4));
}

TEST(BpeTest, MergesOneLowestPairAtATime) {
  // Merging all places of "xy" at once would give xy xy.
  const Bpe bpe = Model(R"({"type":"BPE","vocab":{"x":0,"y":1,"xy":2,"xyx":3},
                            "merges":["xy x","x y"]})");
  EXPECT_EQ(Encoded(bpe, "xyxy"), (std::vector<int32_t>{3, 1}));
}

TEST(BpeTest, BothSpellingsOfMergesAndTheLaterOfTwo) {
  const Bpe bpe = Model(R"({"vocab":{"a":0,"b":1,"c":2,"ab":3,"bc":4," ":5,"a ":6},
                            "merges":["#version: 0.2",["a","b"],["b","c"],["a"," "],["a","b"]]})");
  EXPECT_EQ(Encoded(bpe, "abc"), (std::vector<int32_t>{0, 4}));
  EXPECT_EQ(Encoded(bpe, "a "), (std::vector<int32_t>{6}));
}

TEST(BpeTest, IgnoreMergesTakesWholePieces) {
  const std::string vocabulary = R"("vocab":{"a":0,"b":1,"aab":2},"merges":[])";
  EXPECT_EQ(Encoded(Model(R"({"ignore_merges":true,)" + vocabulary + "}"), "aab"),
            (std::vector<int32_t>{2}));
  EXPECT_EQ(Encoded(Model("{" + vocabulary + "}"), "aab"), (std::vector<int32_t>{0, 0, 1}));
}

TEST(BpeTest, UnknownCharacters) {
  const std::string rest = R"("vocab":{"a":0,"?":1,"<0xC3>":2,"<0xA9>":3},"merges":[]})";
  EXPECT_EQ(Encoded(Model("{" + rest), "aééa"), (std::vector<int32_t>{0, 0}));
  EXPECT_EQ(Encoded(Model(R"({"unk_token":"?",)" + rest), "aééa"),
            (std::vector<int32_t>{0, 1, 1, 0}));
  EXPECT_EQ(Encoded(Model(R"({"unk_token":"?","fuse_unk":true,)" + rest), "aééa"),
            (std::vector<int32_t>{0, 1, 0}));
  const std::string bytes = R"({"unk_token":"?","fuse_unk":true,"byte_fallback":true,)";
  EXPECT_EQ(Encoded(Model(bytes + rest), "aéa"), (std::vector<int32_t>{0, 2, 3, 0}));
  // ü has no byte tokens; the unknown token waits for a known character, as in the library.
  EXPECT_EQ(Encoded(Model(bytes + rest), "aüéa"), (std::vector<int32_t>{0, 2, 3, 1, 0}));
}

TEST(BpeTest, AMissingUnknownTokenIsAnErrorOfTheText) {
  const Bpe bpe = Model(R"({"unk_token":"?","vocab":{"a":0},"merges":[]})");
  Bpe::Scratch scratch;
  std::vector<int32_t> ids;
  EXPECT_TRUE(bpe.Encode("a", &scratch, &ids).ok());
  const absl::Status status = bpe.Encode("aé", &scratch, &ids);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(MessageOf(status).find("\"?\""), std::string::npos);
}

// Reads like the definition: quadratic.
std::vector<std::string> ReferenceMerge(
    std::vector<std::string> symbols,
    const std::map<std::pair<std::string, std::string>, int>& ranks) {
  while (true) {
    int best = INT32_MAX;
    size_t at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ranks.find({symbols[i], symbols[i + 1]});
      if (found != ranks.end() && found->second < best) {
        best = found->second;
        at = i;
      }
    }
    if (best == INT32_MAX) return symbols;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<int64_t>(at) + 1);
  }
}

// Random merges over two letters, in random order, so that later merges often have lower ranks.
TEST(BpeTest, ShortAndLongPiecesEqualTheDefinition) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> tokens = {"a", "b"};
    std::vector<std::pair<std::string, std::string>> merges;
    for (int i = 0; i < 12; ++i) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      if (std::find(merges.begin(), merges.end(), std::pair(left, right)) != merges.end()) continue;
      merges.push_back({left, right});
      if (std::find(tokens.begin(), tokens.end(), left + right) == tokens.end()) {
        tokens.push_back(left + right);
      }
    }
    std::shuffle(merges.begin(), merges.end(), random);
    std::map<std::pair<std::string, std::string>, int> ranks;
    std::string json = R"({"vocab":{)", list;
    for (size_t i = 0; i < tokens.size(); ++i) {
      json += (i ? ",\"" : "\"") + tokens[i] + "\":" + std::to_string(i);
    }
    for (size_t i = 0; i < merges.size(); ++i) {
      ranks[merges[i]] = static_cast<int>(i);
      list += (i ? ",\"" : "\"") + merges[i].first + " " + merges[i].second + "\"";
    }
    const Bpe bpe = Model(json + "},\"merges\":[" + list + "]}");
    for (const size_t length : {1, 2, 3, 10, 47, 48, 49, 50, 200}) {
      std::vector<std::string> symbols;
      std::string piece;
      for (size_t i = 0; i < length; ++i) {
        symbols.push_back(random() % 2 ? "a" : "b");
        piece += symbols.back();
      }
      std::vector<std::string> found;
      for (const int32_t id : Encoded(bpe, piece)) found.push_back(tokens[id]);
      ASSERT_EQ(found, ReferenceMerge(symbols, ranks)) << piece << " " << list;
    }
  }
}

TEST(BpeTest, RefusesByName) {
  EXPECT_EQ(ErrorOf(R"({"type":"Unigram","vocab":[]})"),
            "t.json: type: the model \"Unigram\" is not supported; supported: BPE");
  EXPECT_NE(ErrorOf(R"({"type":"WordPiece"})").find("\"WordPiece\""), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"dropout":0.1,"vocab":{},"merges":[]})").find("dropout"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"end_of_word_suffix":"</w>","vocab":{},"merges":[]})").find("</w>"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"frobnicate":1,"vocab":{},"merges":[]})").find("\"frobnicate\" = 1"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"vocab":[],"merges":[]})").find("vocab: expected an object"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"vocab":{"a":-1},"merges":[]})").find("found -1"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"vocab":{"a":4194304},"merges":[]})").find("found 4194304"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"vocab":{"a":1.0},"merges":[]})").find("found a number"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"vocab":{"a":0,"b":0},"merges":[]})").find("both \"a\" and \"b\""),
            std::string::npos);
  EXPECT_EQ(ErrorOf(R"({"vocab":{"a":0},"merges":["a a"]})"),
            "t.json: merges[0]: token \"aa\" is not in the vocabulary");
  EXPECT_NE(ErrorOf(R"({"vocab":{"a":0},"merges":["a b"]})").find("\"b\" is not"),
            std::string::npos);
  for (const std::string merge : {"\"a\"", "\"a b c\"", "[\"a\"]", "[\"a\",1]", "7", "{}"}) {
    EXPECT_NE(ErrorOf(R"({"vocab":{"a":0},"merges":[)" + merge + "]}").find("merges[0]: expected"),
              std::string::npos)
        << merge;
  }
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
