// A conversion that the disk has no room for.
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/families/made_up_checkpoint.h"
#include "loader/native/convert.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(ConvertRoomTest, WhatDoesNotFitIsRefusedBeforeAnythingIsWritten) {
  const std::string in = testing::TempDir() + "/sparse";
  const std::string out = testing::TempDir() + "/no_room";
  fs::remove_all(in);
  fs::remove_all(out);
  fs::create_directories(in);
  // A table of twice what is free, all of it a hole: 16.8 million rows of bf16.
  const auto free = static_cast<int64_t>(fs::space(in).available);
  constexpr int64_t kKeys = 4096;
  MadeUpSize size{.layers = 1,
                  .dim = 128,
                  .mlp_hidden = 128,
                  .embedding_size = 512,
                  .keys = kKeys,
                  .key_dim = 16,
                  .value_dim = free / (kKeys * kKeys) / 64 * 64 + 64,
                  .pre_value_dim = 64,
                  .max_sequence_length = 64};
  if (!WriteMadeUpCheckpoint(size, in).ok()) {
    GTEST_SKIP() << "no file here may have twice the " << free << " bytes that are free";
  }
  const auto checkpoint = InspectCheckpoint(in);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const absl::Status refused = ConvertCheckpoint(*checkpoint, out, {}, {}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_THAT(
      std::string(refused.message()),
      AllOf(StartsWith(out + ": "), HasSubstr(" bytes are needed, "), HasSubstr(" are free")));
  EXPECT_TRUE(fs::is_empty(out));
}

}  // namespace
}  // namespace mneme::loader
