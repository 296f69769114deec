#include "server/tokenize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mneme::server {
namespace {

using ::testing::ElementsAre;

class TokenizeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loaded = loader::Tokenizer::Load("models/demo/ultramem");
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
  }

  absl::Status Detokenize(const std::vector<int32_t>& ids, int64_t max_message_bytes = 1000) {
    v1::DetokenizeRequest request;
    request.mutable_token_ids()->Assign(ids.begin(), ids.end());
    return server::Detokenize(request, tokenizer_.get(),
                              {.vocab_size = 5000, .max_message_bytes = max_message_bytes}, &text_);
  }
  absl::Status Tokenize(const std::string& text, int64_t max_message_bytes = 1000) {
    v1::TokenizeRequest request;
    request.set_text(text);
    return server::Tokenize(request, tokenizer_.get(),
                            {.vocab_size = 5000, .max_message_bytes = max_message_bytes}, &ids_);
  }

  std::unique_ptr<loader::Tokenizer> tokenizer_;
  v1::DetokenizeReply text_;
  v1::TokenizeReply ids_;
};

TEST_F(TokenizeTest, ThereAndBack) {
  ASSERT_TRUE(Tokenize("hacker: n.").ok());
  EXPECT_THAT(ids_.token_ids(), ElementsAre(3349, 59, 292, 47));
  ASSERT_TRUE(Detokenize({3349, 59, 292, 47}).ok());
  EXPECT_EQ(text_.text(), "hacker: n.");
}

TEST_F(TokenizeTest, IdsOutsideOfTheVocabularyAreNamed) {
  EXPECT_EQ(Detokenize({1, -1}),
            absl::InvalidArgumentError("token_ids: id -1 at position 1 is not in [0, 5000)"));
  EXPECT_EQ(Detokenize({5000, -1}),
            absl::InvalidArgumentError("token_ids: id 5000 at position 0 is not in [0, 5000)"));
  // The model's padding rows: the tokenizer has 4096 entries.
  ASSERT_TRUE(Detokenize({3349, 4096, 4999}).ok());
  EXPECT_EQ(text_.text(), "hacker");
}

TEST_F(TokenizeTest, RepliesThatNoMessageHoldsAreRefusedWithTheNumbers) {
  // 6 bytes each, and two of the message.
  const std::vector<int32_t> ids(100, 3349);
  EXPECT_TRUE(Detokenize(ids, 603).ok());
  EXPECT_EQ(Detokenize(ids, 59),
            absl::ResourceExhaustedError("token_ids: the text of the first 10 ids is larger than a "
                                         "message may be, 59 bytes"));
  EXPECT_EQ(Detokenize(ids, 602).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(
      Tokenize("hacker: n.", 7),
      absl::ResourceExhaustedError("text: its 4 token ids take 8 bytes, a message may have 7"));
}

TEST_F(TokenizeTest, WithoutATokenizerIsAFailedPrecondition) {
  tokenizer_.reset();
  EXPECT_EQ(Tokenize("x").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Detokenize({1}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TokenizeTest, ABadTextIsNamed) {
  const absl::Status status = Tokenize("a\xff");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message().substr(0, 6), "text: ");
}

}  // namespace
}  // namespace mneme::server
