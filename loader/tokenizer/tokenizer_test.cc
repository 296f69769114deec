#include "loader/tokenizer/tokenizer.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <sstream>

#include "gtest/gtest.h"
#include "loader/tokenizer/message.h"

namespace {
// Allocations of this thread, to show that a stream needs none.
thread_local int64_t allocations = 0;
}  // namespace

// Not inlined: GCC would take malloc and free for a mismatched pair.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
// std::stable_sort's; AddressSanitizer has one of its own, which would not go with the delete
// below.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace mneme::loader {
namespace {

using tokenizer_internal::MessageOf;

std::unique_ptr<Tokenizer> LoadFolder(const std::string& name) {
  auto tokenizer = Tokenizer::Load("loader/tokenizer/testdata/" + name);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::string ErrorOf(std::string_view json) {
  const auto tokenizer = Tokenizer::Parse(json, "t.json");
  EXPECT_TRUE(tokenizer.ok() || tokenizer.status().code() == absl::StatusCode::kInvalidArgument);
  return tokenizer.ok() ? "" : std::string(MessageOf(tokenizer.status()));
}

constexpr char kModel[] = R"("model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})";

TEST(TokenizerTest, LooksUpTokens) {
  const auto tokenizer = LoadFolder("demo");
  EXPECT_EQ(tokenizer->vocab_size(), 4096);
  EXPECT_EQ(tokenizer->TokenToId("<|endoftext|>"), 0);
  EXPECT_EQ(tokenizer->IdToToken(0), "<|endoftext|>");
  EXPECT_TRUE(tokenizer->IsSpecial(0));
  EXPECT_FALSE(tokenizer->IsSpecial(1));
  EXPECT_EQ(tokenizer->TokenToId("no such token"), std::nullopt);
  for (const int32_t id : {-1, 4096, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(tokenizer->IdToToken(id), "");
    EXPECT_FALSE(tokenizer->IsSpecial(id));
  }
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    EXPECT_EQ(tokenizer->TokenToId(tokenizer->IdToToken(id)), id);
  }
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{-1, INT32_MAX}, false), "");
}

TEST(TokenizerTest, RefusesTextThatIsNotUtf8OrTooLong) {
  const auto tokenizer = LoadFolder("demo");
  const auto bad = tokenizer->Encode(
      "abc\xFF"
      "d",
      false);
  EXPECT_EQ(MessageOf(bad.status()), "the text is not UTF-8 at byte 3 of 5");
  const auto large = tokenizer->Encode(std::string(kMaxEncodeBytes + 1, 'a'), false);
  EXPECT_EQ(large.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TokenizerTest, AFolderWithoutATokenizer) {
  const std::string folder = testing::TempDir() + "/tokenizer_test_empty";
  std::filesystem::create_directories(folder);
  EXPECT_EQ(Tokenizer::Load(folder).status().code(), absl::StatusCode::kNotFound);
  std::ofstream(folder + "/tokenizer.model") << "x";
  const auto sentencepiece = Tokenizer::Load(folder);
  EXPECT_EQ(sentencepiece.status().code(), absl::StatusCode::kInvalidArgument);
  for (const char* part : {"/tokenizer.model: SentencePiece", "save_pretrained"}) {
    EXPECT_NE(MessageOf(sentencepiece.status()).find(part), std::string::npos);
  }
  std::filesystem::remove_all(folder);
}

TEST(TokenizerTest, AHugeFileIsNotRead) {
  const std::string folder = testing::TempDir() + "/tokenizer_test_huge";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/tokenizer.json") << "{";
  std::filesystem::resize_file(folder + "/tokenizer.json", (64 << 20) + 1);
  const absl::Status status = Tokenizer::Load(folder).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(MessageOf(status).find("has 67108865 bytes; at most 67108864 are allowed"),
            std::string::npos)
      << status;
  std::filesystem::remove_all(folder);
}

TEST(TokenizerTest, TheSmallestFile) {
  const auto tokenizer = Tokenizer::Parse("{" + std::string(kModel) + "}", "t.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("abba", true), (std::vector<int32_t>{2, 1, 0}));
  EXPECT_EQ((*tokenizer)->Decode(std::vector<int32_t>{2, 1, 0}, true), "ab b a");
}

TEST(TokenizerTest, RefusesByName) {
  const std::string model = kModel;
  EXPECT_NE(ErrorOf("").find("t.json: not JSON at byte"), std::string::npos);
  EXPECT_NE(ErrorOf("[]").find("t.json: expected an object, found an array"), std::string::npos);
  EXPECT_NE(ErrorOf("{}").find("t.json: model: expected an object"), std::string::npos);
  EXPECT_EQ(ErrorOf(R"({"version":"2.0",)" + model + "}"),
            "t.json: version: version \"2.0\" is not supported; supported: 1.0");
  EXPECT_NE(ErrorOf(R"({"truncation":{"max_length":5},)" + model + "}").find("t.json: truncation"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"padding":{},)" + model + "}").find("t.json: padding"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"extra":[1],)" + model + "}").find("unknown member \"extra\""),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"added_tokens":{},)" + model + "}").find("added_tokens: expected an array"),
            std::string::npos);
  EXPECT_EQ(ErrorOf(R"({"pre_tokenizer":{"type":"Sequence","pretokenizers":[
                        {"type":"Digits","individual_digits":true},{"type":"Whitespace"}]},)" +
                    model + "}"),
            "t.json: pre_tokenizer.pretokenizers[1]: the pre-tokenizer \"Whitespace\" is not "
            "supported; supported: ByteLevel, Split, Digits, Metaspace, Sequence");
  EXPECT_NE(ErrorOf(R"({"decoder":[],)" + model + "}").find("decoder: expected an object"),
            std::string::npos);
}

TEST(TokenizerTest, EveryTruncationOfAFileIsRefused) {
  std::ifstream file("loader/tokenizer/testdata/metaspace_always/tokenizer.json");
  std::stringstream content;
  content << file.rdbuf();
  const std::string json = content.str();
  ASSERT_GT(json.size(), 10'000u);
  for (size_t size = 0; size < json.find_last_of('}'); size += 1 + json.size() / 97) {
    EXPECT_NE(ErrorOf(std::string_view(json).substr(0, size)), "") << size;
  }
}

TEST(TokenizerTest, HostileFilesCostLittle) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_NE(ErrorOf(std::string(50'000'000, '[')), "");
  EXPECT_NE(ErrorOf("{\"model\":{\"vocab\":{\"a\":4194303,\"b\":4194304},\"merges\":[]}}"), "");
  // A hole of four million ids is allowed, and bounded.
  EXPECT_EQ(ErrorOf("{\"model\":{\"vocab\":{\"a\":4194303},\"merges\":[]}}"), "");
  // Each of those ids would be edited 64 times, to no purpose.
  std::string strips;
  for (int i = 0; i < 64; ++i) {
    strips += R"({"type":"Strip","content":" ","start":1,"stop":0},)";
  }
  strips.pop_back();
  EXPECT_EQ(ErrorOf(R"({"model":{"vocab":{"a":4194303},"merges":[]},"decoder":)"
                    R"({"type":"Sequence","decoders":[)" +
                    strips + "]}}"),
            "");
  std::string deep_sequences;
  for (int i = 0; i < 40; ++i) deep_sequences += R"({"type":"Sequence","normalizers":[)";
  EXPECT_NE(ErrorOf("{\"normalizer\":" + deep_sequences), "");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(TokenizerTest, MoreIdsThanAskedForAreNotMade) {
  const auto tokenizer = LoadFolder("demo");
  const std::string text = "one two<|endoftext|>three";
  const auto ids = tokenizer->Encode(text, false);
  ASSERT_TRUE(ids.ok());
  const auto most = static_cast<int64_t>(ids->size());
  EXPECT_EQ(*tokenizer->Encode(text, false, most), *ids);
  for (int64_t fewer = 0; fewer < most; ++fewer) {
    const absl::Status status = tokenizer->Encode(text, false, fewer).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(MessageOf(status),
              "more than " + std::to_string(fewer) + " tokens, which is the limit");
  }
}

// 1 MB in under a second is measured by tokenizer_bench; here it must only not be quadratic.
TEST(TokenizerTest, AMegabyteIsNotQuadratic) {
  for (const std::string folder : {"demo", "llama3", "llama2", "metaspace_first"}) {
    const auto tokenizer = LoadFolder(folder);
    for (const std::string part : {"a", " ", "\xCC\x81", "ab1 ", "\n"}) {
      std::string text;
      while (text.size() < 1'000'000) text += part;
      const auto start = std::chrono::steady_clock::now();
      const auto ids = tokenizer->Encode(text + "x", false);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << folder;
    }
  }
}

TEST(TokenizerTest, APatternThatTakesTooLongIsAnErrorOfTheRequest) {
  const auto tokenizer = Tokenizer::Parse(
      R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\s+x?$"},"behavior":"Isolated",)"
      R"("invert":false},)" +
          std::string(kModel) + "}",
      "t.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  // Every start of the run is tried, to its end: 10^10 steps.
  const auto ids = (*tokenizer)->Encode(std::string(200'000, ' ') + "!", false);
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kResourceExhausted) << ids.status();
  EXPECT_NE(MessageOf(ids.status()).find("takes too long on this text"), std::string::npos);
  EXPECT_TRUE((*tokenizer)->Encode(std::string(2'000, ' ') + "!", false).ok());
}

// DeepSeek's `\s+$`, which takes Oniguruma quadratic time here, is matched by hand.
TEST(TokenizerTest, BlanksBeforeASignAreNoLimit) {
  const auto tokenizer = LoadFolder("deepseek_llm");
  const std::string text = std::string(1'000'000, ' ') + "\xF0\x9F\x99\x82";
  const auto ids = tokenizer->Encode(text, false);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(tokenizer->Decode(*ids, false), text);
}

TEST(TokenizerTest, AStreamAllocatesNothing) {
  for (const std::string folder : {"demo", "llama2", "metaspace_always"}) {
    const auto tokenizer = LoadFolder(folder);
    const auto ids = *tokenizer->Encode("A hacker's \xE2\x82\xAC \xF0\x9F\x99\x82 text.", true);
    StreamDecoder decoder(tokenizer.get(), true);
    std::string out;
    out.reserve(256);
    const int64_t before = allocations;
    for (int round = 0; round < 100; ++round) {
      for (const int32_t id : ids) {
        out.clear();
        decoder.Append(id, &out);
      }
    }
    decoder.Flush(&out);
    EXPECT_EQ(allocations, before) << folder;
  }
}

TEST(TokenizerTest, AStreamContinuesBehindItsPrompt) {
  const auto tokenizer = LoadFolder("llama2");
  const auto prompt = *tokenizer->Encode("Hello", true);
  const auto whole = *tokenizer->Encode("Hello world", true);
  ASSERT_TRUE(std::equal(prompt.begin(), prompt.end(), whole.begin()));
  StreamDecoder decoder(tokenizer.get(), true);
  decoder.Reset(prompt);
  std::string text;
  for (size_t i = prompt.size(); i < whole.size(); ++i) decoder.Append(whole[i], &text);
  decoder.Flush(&text);
  EXPECT_EQ(text, " world");
}

}  // namespace
}  // namespace mneme::loader
