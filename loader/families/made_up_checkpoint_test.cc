#include "loader/families/made_up_checkpoint.h"

#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/tokenizer/tokenizer.h"

namespace mneme::loader {
namespace {

constexpr MadeUpSize kSize{.layers = 2,
                           .dim = 256,
                           .mlp_hidden = 128,
                           .embedding_size = 1000,
                           .keys = 128,
                           .key_dim = 32,
                           .value_dim = 96,
                           .pre_value_dim = 64,
                           .max_sequence_length = 64};

TEST(MadeUpCheckpointTest, IsACheckpointWithATokenizerAndTakesLittleSpace) {
  const std::string directory = testing::TempDir() + "/made_up";
  std::filesystem::create_directories(directory);
  const absl::Status written = WriteMadeUpCheckpoint(kSize, directory);
  ASSERT_TRUE(written.ok()) << written;
  const absl::StatusOr<Checkpoint> checkpoint = InspectCheckpoint(directory);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const MemoryDescription& memory = *checkpoint->model.memory;
  EXPECT_EQ(memory.layers.size(), 2u);
  EXPECT_EQ(memory.slots, 2 * 128 * 128);
  EXPECT_EQ(memory.window, 128 * 128);
  EXPECT_EQ(checkpoint->model.attention.heads, 2);
  const auto tokenizer = Tokenizer::Load(directory);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 1000);

  struct stat status;
  ASSERT_EQ(stat((directory + "/model.safetensors").c_str(), &status), 0);
  const int64_t table = memory.slots * (96 + 64) * 2;
  EXPECT_GE(status.st_size, table);
  EXPECT_LT(int64_t{status.st_blocks} * 512, status.st_size - table / 2);
}

TEST(MadeUpCheckpointTest, ErrorsNameTheFile) {
  EXPECT_EQ(WriteMadeUpCheckpoint(kSize, "/nowhere").message(),
            "/nowhere/config.yaml: cannot write");
}

}  // namespace
}  // namespace mneme::loader
